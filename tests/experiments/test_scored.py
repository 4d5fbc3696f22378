"""A pre-training as a point of a grid: trained once, scored, and kept."""

import pytest

from mg3d.config import change
from mg3d.experiments.grid import run_grid
from mg3d.experiments.scored import config_of, pretraining_point, score_pretraining


def test_settings_that_decide_no_number_do_not_name_a_run(config, prepared):
    name = pretraining_point(config, prepared).name(score_pretraining)
    for free in ({"workers": 3}, {"save_every": 7}, {"validate_every": 5}, {"text_cache_mb": 9}):
        same = pretraining_point(change(config, **free), prepared)
        assert same.name(score_pretraining) == name, free
    for telling in ({"seed": 1}, {"learning_rate": 1e-4}, {"precision": "bf16"}):
        other = pretraining_point(change(config, **telling), prepared)
        assert other.name(score_pretraining) != name, telling


def test_a_point_holds_the_settings_it_was_made_of(config, prepared):
    point = pretraining_point(config, prepared)
    for group in ("network", "weights", "optimisation", "augmentation", "grid"):
        assert getattr(config_of(point), group) == getattr(config, group)


def test_reports_are_the_patients_own_or_other_patients(config, prepared):
    with pytest.raises(ValueError, match=r"one of .*other patients.*got 'none'"):
        pretraining_point(config, prepared, reports="none")


@pytest.mark.thorough
def test_a_run_is_trained_and_scored_once(config, prepared, tmp_path):
    config = change(config, total_steps=2, weights=config.weights.only("clip", "mlm"))
    own = pretraining_point(config, prepared, configuration="two")
    wrong = pretraining_point(config, prepared, reports="other patients'", configuration="two")
    said = []
    table = run_grid([own, wrong], score_pretraining, tmp_path, log=said.append)
    again = run_grid([own, wrong], score_pretraining, tmp_path, log=said.append)

    assert table.equals(again)
    assert sum("not made again" in line for line in said) == 2
    scores = table.pivot(index="reports", columns="score", values="value")
    assert scores.loc["own", "training_patients"] == 9
    assert scores.loc["own", "held_out_patients"] == 4
    untrained = [name for name in scores if name.endswith(("_untrained", "_initial"))]
    same = ["loss_clip_initial", "probe_macro_auroc_untrained"]
    assert scores.loc["own", same].tolist() == scores.loc["other patients'", same].tolist()
    assert scores.loc["own", "loss_clip_final"] != scores.loc["other patients'", "loss_clip_final"]
    assert len(untrained) >= 4
