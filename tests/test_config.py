import json

import pytest

from mg3d.config import (
    PRESETS,
    LossWeights,
    PretrainConfig,
    Quirks,
    change,
    choose_objectives,
    find_preset,
    flatten,
    read_config,
    write_config,
)


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_survives_being_written_and_read(name, tmp_path):
    write_config(PRESETS[name], tmp_path / "config.json")
    again = read_config(tmp_path / "config.json")
    write_config(again, tmp_path / "again.json")
    assert again == PRESETS[name]
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
    ("settings", "says"),
    [
        ({"volume_shape": (100, 96, 128)}, r"divisible by mask_block 16; .* \(96, 96, 128\)"),
        ({"precision": "half"}, "precision is one of"),
        ({"voxel_mask_ratio": 1.0}, "between 0 and 1"),
        ({"batch_size": 0}, "at least 1"),
        ({"batch_size": 16, "accumulation": 3}, "divisible by accumulation"),
    ],
)
def test_a_wrong_setting_is_refused_where_it_is_made(settings, says):
    with pytest.raises(ValueError, match=says):
        change(PretrainConfig(), **settings)


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


def test_a_setting_is_changed_by_its_own_name():
    preset = PRESETS["tiny"]
    changed = change(preset, batch_size=4, seed=7, weights=preset.weights.only("clip"))
    assert (changed.optimisation.batch_size, changed.run.seed) == (4, 7)
    assert changed.weights.active() == {"clip": 1.0}
    asked = {"batch_size": 4, "seed": 7}
    asked |= {f"weights.{name}": 0.0 for name in LossWeights.names() if name != "clip"}
    assert flatten(changed) == flatten(preset) | asked
    assert preset.optimisation.batch_size == 16


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("batchsize", "did you mean batch_size"),
        ("clip_gradient", "no setting 'clip_gradient'"),
        ("clip", r"did you mean weights\.clip\?"),
        ("padded_to", r"did you mean quirks\.padded_to\?"),
        ("xyz", "settings are volume_shape, spacing_mm"),
    ],
)
def test_an_unknown_setting_is_refused_with_the_nearest_names(name, says):
    with pytest.raises(ValueError, match=says):
        change(PretrainConfig(), **{name: 1})


def test_no_two_groups_share_the_name_of_a_setting():
    names = [name for name in flatten(PretrainConfig()) if "." not in name]
    groups = [vars(group) for group in vars(PretrainConfig()).values()]
    assert len(names) + 7 + 4 == sum(map(len, groups))  # weights and quirks are named in full


def test_a_file_without_groups_reads_as_the_settings_it_meant(tmp_path):
    old = {
        name: value
        for name, value in flatten(PRESETS["tiny"]).items()
        if "." not in name and name != "max_grad_norm"
    }
    old |= {"clip_gradient": 0.5, "weights": {"clip": 1.0}, "quirks": {"padded_to": 250}}
    (tmp_path / "config.json").write_text(json.dumps(old))
    read = read_config(tmp_path / "config.json")
    asked = {"max_grad_norm": 0.5, "quirks": Quirks(padded_to=250)}
    assert read == change(PRESETS["tiny"], **asked)


def test_a_file_that_is_not_json_is_named(tmp_path):
    (tmp_path / "config.json").write_text("batch_size = 8")
    with pytest.raises(ValueError, match=r"config\.json is not JSON"):
        read_config(tmp_path / "config.json")
