"""Trained on one data set and evaluated on another: labels in common, and who may be where."""

import json
import shutil

import pytest

from data_prep.phantom.layouts.rad_chestct import write_rad_chestct
from data_prep.rad_chestct import prepare_rad_chestct
from data_prep.rad_chestct_tables import LABELS
from mg3d.evaluation.tasks.predictions import read_predictions
from mg3d.evaluation.tasks.registry import find_task
from mg3d.evaluation.tasks.run import run_task
from mg3d.evaluation.tasks.sides import prepare_sides
from mg3d.preparation.prepare import PrepareSettings, RunOptions
from mg3d.volumes.grid import Grid


@pytest.fixture(scope="module")
def rad_chestct(tmp_path_factory):
    """Three patients with four scans, all of split test."""
    root = tmp_path_factory.mktemp("rad_chestct")
    write_rad_chestct(root / "raw", 3, 0)
    form = PrepareSettings(grid=Grid((32, 32, 32)))
    done = prepare_rad_chestct(root / "raw", root / "out", RunOptions(settings=form, workers=0))
    assert not done.refused
    return done.folder


def test_zero_shot_scores_the_labels_that_are_mapped(rad_chestct, weights, tmp_path):
    done = run_task("zero_shot", rad_chestct, str(weights), tmp_path, log=lambda _: None)
    found = read_predictions(tmp_path / "predictions" / "test")
    assert len(found) == 4 and len({one.patient_id for one in found}) == 3
    assert all(tuple(one.truth) == LABELS for one in found)
    row = done.rows[0]
    assert (row["dataset"], row["evaluation_set"]) == ("Rad-ChestCT", "test")
    assert "no counterpart: Medical material" in row["notes"]
    assert "coarser label: Arterial wall calcification" in row["notes"]


@pytest.mark.parametrize("name", ["probe", "findings"])
def test_what_is_learned_on_one_data_set_is_scored_on_the_other(
    name, prepared, rad_chestct, weights, tmp_path
):
    config = find_task(name).defaults()
    if name == "findings":
        config = type(config)(
            own=config.own, finetune=type(config.finetune)(total_steps=1, batch_size=4)
        )
    done = run_task(
        name, prepared, str(weights), tmp_path, config, external=rad_chestct, log=lambda _: None
    )
    found = read_predictions(tmp_path / "predictions" / "external")
    assert len(found) == 4
    assert all(tuple(one.truth) == LABELS and len(one.output["output"]) == 15 for one in found)
    row = done.rows[0]
    assert (row["dataset"], row["evaluation_set"], row["threshold_set"]) == (
        "Rad-ChestCT", "external", "val",
    )  # fmt: skip
    assert "trained on unknown" in row["notes"]  # these patients are made by hand
    assert row["train_patients"] == 9 and row["num_patients"] == 3


def sides(home, away):
    task = find_task("findings")
    return prepare_sides(task(task.defaults()), home, external=away)


def test_a_patient_of_one_data_set_on_both_sides_is_refused_by_name(prepared, tmp_path):
    away = shutil.copytree(prepared, tmp_path / "away")
    with pytest.raises(ValueError, match=r"manifest\.csv .* share 13 patients, first train_0"):
        sides(prepared, away)


def test_folders_prepared_in_different_forms_are_refused_by_file(prepared, tmp_path):
    home, away = (shutil.copytree(prepared, tmp_path / name) for name in ("home", "away"))
    for folder, low in ((home, -1000.0), (away, -900.0)):
        facts = {"source": folder.name, "settings": {"hu_window": [low, 1000.0]}}
        (folder / "dataset.json").write_text(json.dumps(facts))
    with pytest.raises(ValueError, match=r"dataset\.json: hu_window is \[-900\.0, 1000\.0\]"):
        sides(home, away)


def test_data_sets_without_a_label_in_common_are_refused(prepared, tmp_path):
    away = shutil.copytree(prepared, tmp_path / "away")
    (away / "dataset.json").write_text(json.dumps({"source": "other", "labels": []}))
    with pytest.raises(ValueError, match="none in common; give both in --labels"):
        sides(prepared, away)


def test_a_split_that_the_other_data_lack_is_refused(prepared, rad_chestct):
    task = find_task("findings")
    with pytest.raises(ValueError, match="has the splits test; got evaluate_on 'val'"):
        prepare_sides(task(task.defaults()), prepared, "val", rad_chestct)
