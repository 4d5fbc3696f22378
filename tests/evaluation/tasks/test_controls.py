"""Permuted labels of every kind of task, what of an encoder is trained, and refusals."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from mg3d.config import change
from mg3d.evaluation.tasks.registry import TASKS, find_task
from mg3d.evaluation.tasks.run import run_task
from mg3d.evaluation.tasks.settings import TuningSettings
from mg3d.evaluation.tasks.zero_shot_task import find_clip
from mg3d.training.step import build_pretraining


def settings(name, *, permute=False, tuning=None, steps=0, **own):
    config = find_task(name).defaults()
    return replace(
        config,
        tuning=TuningSettings(
            permute_labels=permute, tuning=tuning or config.tuning.tuning
        ),
        finetune=replace(config.finetune, total_steps=steps, batch_size=4),
        own=replace(config.own, **own),
    )  # fmt: skip


def labels_of(name, folder, split, *, permute, training):
    task = find_task(name)(settings(name, permute=permute))
    return task.prepare(folder, split, training=training).labels


@pytest.mark.parametrize("name", ["findings", "probe"])
def test_permuted_labels_are_those_of_training_only(name, prepared):
    plain, dealt = (
        labels_of(name, prepared, "train", permute=permute, training=True)
        for permute in (False, True)
    )
    assert not np.array_equal(plain, dealt)
    assert sorted(map(tuple, plain)) == sorted(map(tuple, dealt))
    held_out = [labels_of(name, prepared, "val", permute=p, training=False) for p in (False, True)]
    assert np.array_equal(*held_out)


def test_permuted_labels_are_those_of_the_evaluation_where_nothing_is_trained(prepared):
    plain, dealt = (
        labels_of("zero_shot", prepared, "val", permute=permute, training=False)
        for permute in (False, True)
    )
    assert not np.array_equal(plain, dealt)
    assert sorted(map(tuple, plain)) == sorted(map(tuple, dealt))


def test_permuted_retrieval_asks_with_the_report_of_another_scan(prepared, weights, tmp_path):
    rows = {}
    for permute in (False, True):
        folder, config = tmp_path / str(permute), settings("retrieval", permute=permute)
        done = run_task("retrieval", prepared, str(weights), folder, config, log=lambda _: None)
        files = sorted((folder / "predictions" / "val").glob("*.json"))
        cases = [json.loads(file.read_text())["cases"][0] for file in files]
        rows[permute] = [case["output"]["fused"] for case in cases]
    assert rows[True] != rows[False]
    assert sorted(rows[True]) == sorted(rows[False])
    assert "evaluation labels permuted" in done.rows[0]["notes"]


@pytest.mark.parametrize("tuning", ["full", "frozen", "lora"])
def test_prompted_classification_trains_what_the_settings_say(tuning, prepared, weights, tmp_path):
    config = settings("prompted", tuning=tuning, steps=2)
    done = run_task("prompted", prepared, str(weights), tmp_path, config, log=lambda _: None)
    learns = {name for name, p in done.network.named_parameters() if p.requires_grad}
    encoder = {name for name in learns if name.startswith("encoder.")}
    assert bool(encoder) == (tuning != "frozen")
    assert all(("lora_" in name) == (tuning == "lora") for name in encoder)
    assert {name.split(".")[0] for name in learns - encoder} == {
        "projection", "text_projection", "modality", "fusion", "volume_map", "text_map",
    }  # fmt: skip
    assert done.rows[0]["tuning"] == tuning


@pytest.mark.parametrize("name", ["probe", "zero_shot", "retrieval"])
def test_a_tuning_that_the_task_does_not_offer_is_refused(name):
    with pytest.raises(ValueError, match="offers the tuning frozen, got 'lora'"):
        find_task(name)(settings(name, tuning="lora"))


@pytest.mark.parametrize("name", [name for name in TASKS if name not in ("probe",)])
def test_every_task_can_be_permuted_and_says_what_it_trains(name):
    config = replace(find_task(name).defaults(), tuning=TuningSettings(
        permute_labels=True, tuning=find_task(name).tunings[0]))  # fmt: skip
    assert find_task(name)(config).config.tuning.permute_labels


def test_weights_without_a_head_that_compares_are_refused(config):
    pretraining = build_pretraining(change(config, weights=config.weights.only("mim")))
    with pytest.raises(ValueError, match=r"mine\.pt has no CLIP head.*objectives mim"):
        find_clip(pretraining, "mine.pt")


def test_labels_without_prompts_are_refused_by_file_and_column(prepared, tmp_path):
    table = tmp_path / "labels.csv"
    patients = [f"{'train' if n < 9 else 'val'}_{n}" for n in range(13)]
    table.write_text("\n".join(["patient_id,smoker", *(f"{p},{n % 2}" for n, p in
                                                       enumerate(patients))]))  # fmt: skip
    task = find_task("zero_shot")(settings("zero_shot", labels=str(table)))
    with pytest.raises(ValueError, match=r"labels\.csv: there are no prompts .*columns smoker"):
        task.prepare(prepared, "val")


def test_labels_that_are_all_of_one_class_are_refused_by_column_and_patient(prepared, tmp_path):
    folder = shutil.copytree(prepared, tmp_path / "data")
    table = tmp_path / "labels.csv"
    patients = [f"{'train' if n < 9 else 'val'}_{n}" for n in range(13)]
    table.write_text("\n".join(["patient_id,ill", *(f"{p},1" for p in patients)]))
    with pytest.raises(ValueError, match=r"split 'train': no label has two .*ill, patient train_0"):
        run_task("findings", folder, "scratch", tmp_path / "run", settings(
            "findings", labels=str(table)), log=lambda _: None)  # fmt: skip
