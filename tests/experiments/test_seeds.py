import json

import pytest

from mg3d.experiments.seeds import as_markdown, loss_rows, score_rows


def run(probe, mim):
    return {
        "held_out_patients": 64,
        "probe_macro_auroc": probe,
        "probe_macro_auroc_interval": [probe - 0.1, probe + 0.1],
        "zero_shot_macro_auroc": None,  # a run without clip has none
        "losses": {"mim": {"initial": 1.0, "final": mim, "trivial": 0.5}},
    }


def test_scores_are_the_mean_over_runs_with_the_range_of_seeds():
    (row,) = score_rows([run(0.6, 0.1), run(0.8, 0.3)])
    assert row["score"] == "probe_macro_auroc"
    assert row["mean"] == pytest.approx(0.7)
    assert row["interval"] == pytest.approx([0.6, 0.8])
    assert row["of_seeds"] == [0.6, 0.8]
    assert row["seeds"] == 2 and row["patients"] == 64


def test_losses_are_the_mean_over_runs():
    (row,) = loss_rows([run(0.6, 0.1), run(0.8, 0.3)])
    assert row == {"loss": "mim", "initial": 1.0, "final": pytest.approx(0.2), "trivial": 0.5}


def test_the_markdown_shows_every_row_once():
    text = as_markdown([json.loads(json.dumps(run(0.6, 0.1)))])
    assert text.count("linear probe, pre-trained") == 1
    assert "| MIM | 1 | 0.1 | 0.5 |" in text
