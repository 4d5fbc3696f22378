"""Few-label curves: every start at every share, on the same patients; pre-trained once."""

import argparse

import pytest

from mg3d.config import find_preset
from mg3d.experiments import few_labels
from mg3d.experiments.few_labels import few_label_points, score_few_labels, starts, task_config
from mg3d.experiments.grid import run_grid

MADE = []


def quick(point, folder):
    """A pre-training without its evaluation."""
    from mg3d.experiments.scored import config_of
    from mg3d.training.loop import pretrain

    MADE.append(point.settings["config"]["weights"])
    pretrain(config_of(point), point.data, folder, progress=False, log=lambda _: None)
    return {"seconds": 1.0}


@pytest.fixture(autouse=True)
def small(monkeypatch, config):
    monkeypatch.setattr(few_labels, "find_preset", lambda _: config)
    monkeypatch.setattr(few_labels, "score_pretraining", quick)
    MADE.clear()


def asked(data, **other):
    given = {"preset": "tiny", "steps": 2, "seeds": [0, 1], "shares": [10, 50, 100], "data": data}
    given |= {"task": "findings", "tuning": "", "task_steps": 2} | other
    return argparse.Namespace(**given)


def test_every_start_meets_every_share_and_seed_once(prepared):
    points = few_label_points(asked(prepared))
    rows = [(p.columns["start"], p.columns["share"], p.columns["seed"]) for p in points]
    names = list(starts(find_preset("tiny")))
    assert sorted(rows) == sorted((n, s, k) for n in names for s in (10, 50, 100) for k in (0, 1))
    assert {p.columns["labelled_patients"] for p in points} == {1, 4, 9}  # of 9 patients
    assert len({p.name(score_few_labels) for p in points}) == len(points)


def test_the_control_has_other_patients_reports_and_clip_and_mim_stand_alone(prepared):
    recipes = {p.columns["start"]: p.settings["pretraining"] for p in few_label_points(
        asked(prepared, seeds=[0], shares=[100]))}  # fmt: skip
    assert recipes["scratch"] is None
    assert recipes["pre-trained, other patients' reports"]["reports"] == "other patients'"
    active = {
        name: {key for key, value in recipe["config"]["weights"].items() if value}
        for name, recipe in recipes.items()
        if recipe
    }
    assert (active["only CLIP"], active["only MIM"]) == ({"clip"}, {"mim"})
    assert len(active["pre-trained"]) > 2


def test_settings_reach_the_task(prepared):
    point = few_label_points(asked(prepared, seeds=[3], shares=[50], tuning="frozen"))[0]
    config = task_config(point.settings)
    assert (config.tuning.tuning, config.tuning.num_patients) == ("frozen", 4)
    assert (config.run.seed, config.finetune.total_steps) == (3, 2)


def test_an_impossible_share_is_refused(prepared):
    with pytest.raises(ValueError, match="shares are above 0 and up to 100 %, got 0"):
        few_label_points(asked(prepared, shares=[0]))


def test_a_pretraining_is_made_once_for_all_shares(prepared, tmp_path):
    points = few_label_points(asked(prepared, seeds=[0], shares=[50, 100]))
    chosen = [p for p in points if p.columns["start"] == "only MIM"]
    chosen += [p for p in points if p.columns["start"] == "scratch"][1:]  # all of the labels
    table = run_grid(chosen, score_few_labels, tmp_path, log=lambda _: None)
    assert len(MADE) == 1
    scores = table.pivot(index=["start", "share"], columns="score", values="value")
    assert scores["auroc_macro"].notna().all()
    assert (scores["auroc_macro_trivial"] == 0.5).all()
    assert scores.loc[("only MIM", 100), "ap_macro"] != scores.loc[("scratch", 100), "ap_macro"]
