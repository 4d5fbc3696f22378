"""Tasks that compare volumes with texts, on a dozen small patients and a short pre-training."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from mg3d.evaluation.tasks.registry import find_task
from mg3d.evaluation.tasks.retrieval_task import jaccard_table
from mg3d.evaluation.tasks.run import run_task
from mg3d.evaluation.tasks.settings import FinetuneSettings


@pytest.mark.parametrize("name", ["zero_shot", "retrieval", "prompted", "findings"])
def test_each_task_predicts_every_held_out_patient(name, prepared, weights, tmp_path):
    config = find_task(name).defaults()
    if name in ("prompted", "findings"):
        config = replace(config, finetune=FinetuneSettings(total_steps=2, batch_size=4))
    before = torch.random.get_rng_state()
    done = run_task(name, prepared, str(weights), tmp_path, config, log=lambda _: None)
    assert torch.equal(before, torch.random.get_rng_state())
    first = done.rows[0]
    assert first["metric"] == done.task.primary.replace("at_5", "at_1")  # 4 volumes: K below 4
    assert first["loaded_share"] == 1.0
    assert first["disjoint"].startswith("yes")
    assert first["num_patients"] == 4 and first["evaluation_set"] == "val"
    assert len(list((tmp_path / "predictions" / "val").glob("*.json"))) == 4
    trivial = {row["metric"] for row in done.rows if row["model"].startswith("trivial")}
    assert {row["metric"] for row in done.rows} == trivial  # no score stands alone


def test_labels_in_common_over_labels_of_either():
    labels = np.array([[1, 1, 0], [1, 0, 0], [0, 0, 0]], dtype=bool)
    assert jaccard_table(labels).tolist() == [[1, 0.5, 0], [0.5, 1, 0], [0, 0, 0]]
