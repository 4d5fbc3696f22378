"""The table of stand-ins: lines, summary, and one run of few steps with its control."""

import pytest

from benchmarks.stand_ins import COLUMNS, STAND_INS, SUMMARY, measure, summary
from mg3d.evaluation.tasks.registry import TASKS, find_task


def line(value, seed, **other):
    given = {"task": "a", "metric": "auroc", "seed": seed, "value": value, "permuted": 0.5}
    given |= {"chance_value": 0.5, "baseline_value": "", "permuted_high": 0.6 + seed}
    return given | other


def test_a_floor_is_the_mean_less_four_standard_deviations_of_seeds():
    (one,) = summary([line(0.7, 0), line(0.9, 1)])
    assert set(one) == set(SUMMARY)
    assert one["mean"] == pytest.approx(0.8) and one["sd"] == pytest.approx(0.02**0.5)
    assert one["mean_less_4_sd"] == pytest.approx(0.8 - 4 * 0.02**0.5)
    assert (one["permuted_high"], one["baseline_value"]) == (1.6, "")


def test_every_stand_in_has_a_task_and_settings_that_it_knows():
    for name, about in STAND_INS.items():
        own = find_task(name).defaults().own
        assert set(about.own) <= set(vars(own)), name
    assert set(TASKS) - set(STAND_INS) == {"probe", "segmentation"}


def test_a_line_has_the_score_chance_a_baseline_and_the_control(tmp_path):
    one = measure("cc_ccii", 0, tmp_path, steps=1, patients=15)
    assert set(one) == set(COLUMNS)
    assert (one["task"], one["metric"], one["seed"]) == ("cc_ccii", "accuracy", 0)
    assert one["baseline"] == one["chance"] == "trivial: majority class"
    assert 0 <= one["low"] <= one["value"] <= one["high"] <= 1
    assert 0 <= one["permuted"] <= 1
    again = measure("cc_ccii", 0, tmp_path, steps=1, patients=15)
    assert again == one  # kept, not made again
