import pytest

from mg3d.config import (
    PRESETS,
    LossWeights,
    PretrainConfig,
    choose_objectives,
    find_preset,
    read_config,
    replace,
    write_config,
)


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_survives_being_written_and_read(name, tmp_path):
    write_config(PRESETS[name], tmp_path / "config.json")
    again = read_config(tmp_path / "config.json")
    write_config(again, tmp_path / "again.json")
    assert again.weights == PRESETS[name].weights
    assert again.volume_shape == PRESETS[name].volume_shape
    assert (tmp_path / "config.json").read_text() == (tmp_path / "again.json").read_text()


def test_the_paper_preset_has_the_six_objectives_and_no_seventh():
    assert list(PRESETS["paper"].weights.active()) == ["mim", "mlm", "sfr", "cml", "dfa", "ssm"]
    assert "clip" in PRESETS["tiny"].weights.active()


def test_only_and_without_make_the_ablations():
    weights = LossWeights(clip=1.0)
    assert weights.only("clip").active() == {"clip": 1.0}
    assert LossWeights().only("clip").active() == {"clip": 1.0}
    assert weights.only("ssm").active() == {"ssm": 0.1}
    assert "mim" not in weights.without("mim").active()
    assert len(weights.without("mim").active()) == 6


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"volume_shape": (100, 96, 128)}, r"divisible by mask_block 16; .* \(96, 96, 128\)"),
        ({"precision": "half"}, "precision is one of"),
        ({"voxel_mask_ratio": 1.0}, "between 0 and 1"),
        ({"batch_size": 0}, "at least 1"),
        ({"batch_size": 16, "accumulation": 3}, "divisible by accumulation"),
    ],
)
def test_a_wrong_setting_is_refused_where_it_is_made(change, says):
    with pytest.raises(ValueError, match=says):
        replace(PretrainConfig(), **change)


def test_weights_that_switch_everything_off_are_refused():
    with pytest.raises(ValueError, match="one of them above 0"):
        LossWeights(mim=0.0, mlm=0.0, sfr=0.0, cml=0.0, dfa=0.0, ssm=0.0)
    with pytest.raises(ValueError, match="objectives are mim"):
        LossWeights().without("itm")


def test_an_unknown_preset_lists_those_there_are():
    with pytest.raises(ValueError, match="tiny, small"):
        find_preset("huge")


def test_a_setting_of_another_version_is_named(tmp_path):
    (tmp_path / "config.json").write_text('{"learning_rte": 1}')
    with pytest.raises(ValueError, match="learning_rte"):
        read_config(tmp_path / "config.json")


def test_an_ablation_is_one_parameter():
    weights = PRESETS["tiny"].weights
    assert choose_objectives(weights, "all") == weights
    assert choose_objectives(weights, "only mim") == weights.only("mim")
    assert choose_objectives(weights, "without clip ssm") == weights.without("clip", "ssm")
    for wrong in ("clip", "only", "without itm", "all mim"):
        with pytest.raises(ValueError, match="mim, mlm"):
            choose_objectives(weights, wrong)
