import argparse
from pathlib import Path

import pandas as pd
import pytest

from mg3d.experiments.seeds import as_markdown, loss_rows, score_rows, seed_points


def run(seed, probe, mim):
    """One finished run as a grid gives it back: long rows."""
    scores = {
        "probe_macro_auroc": (probe, probe - 0.1, probe + 0.1, 64),
        "loss_mim_initial": (1.0, None, None, None),
        "loss_mim_final": (mim, None, None, None),
        "loss_mim_trivial": (0.5, None, None, None),
    }
    columns = ("value", "low", "high", "n")
    return [
        {"seed": seed, "run": f"run {seed}", "score": name, **dict(zip(columns, row, strict=True))}
        for name, row in scores.items()
    ]


@pytest.fixture
def runs():
    return pd.DataFrame([*run(0, 0.6, 0.1), *run(1, 0.8, 0.3)])


def test_scores_are_the_mean_over_runs_with_the_range_of_seeds(runs):
    (row,) = score_rows(runs)
    assert row["score"] == "probe_macro_auroc"
    assert row["mean"] == pytest.approx(0.7)
    assert row["interval"] == pytest.approx([0.6, 0.8])
    assert row["of_seeds"] == [0.6, 0.8]
    assert row["seeds"] == 2 and row["patients"] == 64


def test_losses_are_the_mean_over_runs(runs):
    (row,) = loss_rows(runs)
    assert row == {"loss": "mim", "initial": 1.0, "final": pytest.approx(0.2), "trivial": 0.5}


def test_a_score_that_one_run_lacks_is_left_out(runs):
    assert not list(score_rows(runs.drop(index=runs.index[4])))


def test_the_markdown_shows_every_row_once(runs):
    text = as_markdown(runs)
    assert text.count("linear probe, pre-trained") == 1
    assert "| MIM | 1 | 0.2 | 0.5 |" in text


def asked(*folders):
    data = [Path(folder) for folder in folders]
    return argparse.Namespace(data=data, seeds=[0, 1], preset="tiny", steps=None)


def test_each_seed_may_have_patients_of_its_own():
    assert [point.data.name for point in seed_points(asked("a", "b"))] == ["a", "b"]
    assert [point.data.name for point in seed_points(asked("a"))] == ["a", "a"]
    with pytest.raises(ValueError, match="one for each of the 2 seeds, got 3"):
        seed_points(asked("a", "b", "c"))
