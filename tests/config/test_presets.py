import pytest

from mg3d.config import (
    PRESETS,
    LossWeights,
    choose_objectives,
    find_preset,
)


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


def test_an_objective_that_does_not_exist_is_refused():
    with pytest.raises(ValueError, match="objectives are mim"):
        LossWeights().without("itm")


def test_an_unknown_preset_lists_those_there_are():
    with pytest.raises(ValueError, match="tiny, small"):
        find_preset("huge")


def test_an_ablation_is_one_parameter():
    weights = PRESETS["tiny"].weights
    assert choose_objectives(weights, "all") == weights
    assert choose_objectives(weights, "only mim") == weights.only("mim")
    assert choose_objectives(weights, "without clip ssm") == weights.without("clip", "ssm")
    for wrong in ("clip", "only", "without itm", "all mim"):
        with pytest.raises(ValueError, match="mim, mlm"):
            choose_objectives(weights, wrong)
