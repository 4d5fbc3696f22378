"""One run of each kind of task, its files, and what is refused before anything is trained."""

import csv
import shutil

import pytest
import torch

from mg3d.evaluation.ledger import COLUMNS, ledger_rows
from mg3d.evaluation.tasks.class_scores import class_measures
from mg3d.evaluation.tasks.predictions import read_predictions
from mg3d.evaluation.tasks.registry import TASKS, find_task
from mg3d.evaluation.tasks.run import run_task
from mg3d.evaluation.tasks.settings import FinetuneSettings, TaskConfig, TuningSettings
from mg3d.evaluation.tasks.start import start_from
from mg3d.evaluation.tasks.task import Predicted, Prediction


def settings(name, *, tuning="full", steps=2, **own):
    config = find_task(name).defaults()
    kind = type(config.own)
    return TaskConfig(
        tuning=TuningSettings(tuning=tuning),
        finetune=FinetuneSettings(total_steps=steps, batch_size=4),
        own=kind(**own),
    )


OWN = {"luna16": {"cube": 32}}


@pytest.mark.parametrize("name", ["luna16", "cc_ccii", "stoic2021"])
def test_a_run_keeps_predictions_of_every_patient_and_its_rows(name, stand_in, tmp_path):
    config = settings(name, **OWN.get(name, {}))
    done = run_task(name, stand_in(name), "scratch", tmp_path, config, log=lambda _: None)
    (evaluated,) = {row["evaluation_set"] for row in done.rows}
    predictions = read_predictions(tmp_path / "predictions" / evaluated)
    cases = done.task.prepare(stand_in(name), evaluated)
    assert sorted(one.case_id for one in predictions) == sorted(cases.case_id)
    assert {one.patient_id for one in predictions} == set(cases.patient_id)
    assert done.rows[0]["metric"] == done.task.primary
    assert any(row["model"].startswith("trivial") for row in done.rows)
    assert done.rows[0]["baseline_value"] != ""
    with (tmp_path / "ledger.csv").open() as file:
        assert [row["metric"] for row in csv.DictReader(file)] == [r["metric"] for r in done.rows]
    assert set(done.rows[0]) == set(COLUMNS)
    assert ledger_rows(tmp_path) == done.rows  # from the files alone


@pytest.mark.parametrize("name", TASKS)
def test_every_task_of_the_table_can_be_found(name):
    assert find_task(name).defaults()


def test_a_task_on_another_data_set_is_refused_by_column(stand_in, tmp_path):
    with pytest.raises(
        ValueError, match=r"manifest\.csv lacks the label columns diagnosis .*STOIC"
    ):
        run_task("cc_ccii", stand_in("stoic2021"), "scratch", tmp_path)


def test_a_split_that_is_not_there_is_refused(stand_in, tmp_path):
    with pytest.raises(ValueError, match=r"has the splits train, val; got evaluate_on 'test'"):
        run_task("stoic2021", stand_in("stoic2021"), "scratch", tmp_path, evaluate_on="test")


def test_a_label_of_one_class_is_refused_by_column_and_patient(stand_in, tmp_path):
    folder = shutil.copytree(stand_in("luna16"), tmp_path / "data")
    table = folder / "candidates.csv"
    header, *lines = table.read_text().splitlines()
    negatives = [line for line in lines if line.endswith(",0")]
    table.write_text("\n".join([header, *negatives]) + "\n")
    with pytest.raises(ValueError, match=r"column label: all \d+ are 0 \(first patient 1\.3"):
        run_task("luna16", folder, "scratch", tmp_path / "run", settings("luna16", cube=32))


@pytest.mark.parametrize("tuning", ["full", "frozen", "lora"])
def test_what_is_trained_is_what_the_settings_say(tuning, stand_in, tmp_path):
    config = settings("cc_ccii", tuning=tuning, steps=3)
    task = find_task("cc_ccii")
    fresh = start_from("scratch", seed=config.run.seed, log=lambda _: None).encoder.state_dict()
    done = run_task("cc_ccii", stand_in("cc_ccii"), "scratch", tmp_path, config, log=lambda _: None)
    assert isinstance(done.task, task)
    after = done.network.encoder.state_dict()
    changed = {
        name
        for name, value in fresh.items()
        if not torch.equal(value, after.get(name, after.get(wrapped(name))))
    }
    adapters = [name for name in after if "lora_" in name]
    moved = [name for name in adapters if "lora_B" in name and after[name].any()]  # begin at 0
    assert bool(changed) == (tuning == "full")
    assert bool(moved) == (tuning == "lora")
    assert done.rows[0]["tuning"] == tuning


def wrapped(name):
    """Name of a layer's own weight inside its adapter."""
    layer, _, kind = name.rpartition(".")
    return f"{layer}.base_layer.{kind}"


def test_a_patient_in_training_and_in_evaluation_is_refused_by_file_and_name(stand_in, tmp_path):
    folder = shutil.copytree(stand_in("cc_ccii"), tmp_path / "data")
    table = folder / "manifest.csv"
    with table.open() as file:
        rows = list(csv.DictReader(file))
    train = next(row for row in rows if row["split"] == "train")
    other = next(row for row in rows if row["split"] != "train")
    other["patient_id"] = train["patient_id"]
    with table.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    with pytest.raises(ValueError, match=rf"manifest\.csv.*{train['patient_id']}"):
        run_task("cc_ccii", folder, "scratch", tmp_path / "run", settings("cc_ccii"))


def test_cases_without_a_label_are_not_scored():
    def case(patient, truth, output):
        return Prediction(patient, patient, {"output": output}, {"diagnosis": truth})

    cases = [case("a", 0.0, [2, 0, 0]), case("b", 1.0, [0, 0, 1]), case("c", None, [0, 0, 9])]
    measures = class_measures(Predicted(cases, known={"counts": [3, 1, 1]}), "diagnosis")
    accuracy = next(m for m in measures if m.metric == "accuracy" and not m.model)
    assert (accuracy.score.value, accuracy.num_cases) == (0.5, 2)
    assert class_measures(Predicted(cases[2:], known={"counts": [3, 1, 1]}), "diagnosis") == []
