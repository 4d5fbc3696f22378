"""The linear probe on the weights of a small pre-training."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from mg3d.evaluation.tasks.registry import find_task
from mg3d.evaluation.tasks.run import run_task


def test_the_probe_predicts_every_held_out_patient(prepared, weights, tmp_path):
    before = torch.random.get_rng_state()
    done = run_task("probe", prepared, str(weights), tmp_path, log=lambda _: None)
    assert torch.equal(before, torch.random.get_rng_state())
    first = done.rows[0]
    assert first["metric"] == "auroc_macro"
    assert first["loaded_share"] == 1.0
    assert first["disjoint"].startswith("yes")
    assert first["num_patients"] == 4 and first["evaluation_set"] == "val"
    assert len(list((tmp_path / "predictions" / "val").glob("*.json"))) == 4


def test_cached_features_are_read_and_give_the_same_predictions(prepared, weights, tmp_path):
    first = run_task("probe", prepared, str(weights), tmp_path, log=lambda _: None)
    files = {path: path.stat().st_mtime_ns for path in (tmp_path / "features").iterdir()}
    again = run_task("probe", prepared, str(weights), tmp_path, overwrite=True, log=lambda _: None)
    assert len(files) == 2  # of training and of held-out patients
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "features").iterdir()} == files
    assert again.rows == first.rows


def test_a_table_of_ones_own_replaces_the_manifests_labels(prepared, weights, tmp_path):
    task = find_task("probe")(find_task("probe").defaults())
    cases = task.prepare(prepared, "val")
    assert cases.labels is not None
    table = tmp_path / "labels.csv"
    lines = [f"{one},{number % 2}" for number, one in enumerate(cases.patients())]
    everyone = task.prepare(prepared, "train").patients()
    lines += [f"{one},{number % 2}" for number, one in enumerate(everyone)]
    table.write_text("\n".join(["patient_id,odd", *lines]) + "\n")
    config = task.defaults()
    own = type(config.own)(labels=str(table))
    asked = replace(config, own=own)
    found = find_task("probe")(asked).prepare(prepared, "val")
    np.testing.assert_array_equal(found.labels[:, 0], np.arange(4) % 2)
    done = run_task("probe", prepared, str(weights), tmp_path / "run", asked, log=lambda _: None)
    patient = json.loads(next((tmp_path / "run/predictions/val").glob("*.json")).read_text())
    assert list(patient["cases"][0]["truth"]) == ["odd"]
    assert {row["metric"] for row in done.rows} >= {"auroc_macro", "auroc: odd"}


def test_a_table_without_a_patient_is_refused_by_file_column_and_patient(
    prepared, weights, tmp_path
):
    table = tmp_path / "labels.csv"
    table.write_text("patient_id,odd\nnobody,1\n")
    config = find_task("probe").defaults()
    asked = replace(config, own=type(config.own)(labels=str(table)))
    with pytest.raises(ValueError, match=r"labels\.csv, column patient_id: \d+ volumes .* patient"):
        run_task("probe", prepared, str(weights), tmp_path / "run", asked, log=lambda _: None)
