"""Tasks that need a whole pre-trained model, and the probe, on a dozen small patients."""

import numpy as np
import pytest
import torch

from mg3d.evaluation.tasks.registry import find_task
from mg3d.evaluation.tasks.retrieval_task import jaccard_table
from mg3d.evaluation.tasks.run import run_task
from mg3d.evaluation.tasks.settings import FinetuneSettings, TaskConfig
from mg3d.training.loop import pretrain


@pytest.fixture(scope="module")
def weights(prepared, tmp_path_factory):
    """A run of six steps."""
    from prepared_patients import small_config

    folder = tmp_path_factory.mktemp("run")
    pretrain(small_config(), prepared, folder, log=lambda _: None)
    return folder


@pytest.mark.parametrize("name", ["probe", "zero_shot", "retrieval", "prompted"])
def test_each_task_predicts_every_held_out_patient(name, prepared, weights, tmp_path):
    defaults = find_task(name).defaults()
    steps = 2 if name == "prompted" else 0
    config = TaskConfig(
        finetune=FinetuneSettings(total_steps=steps, batch_size=4), own=defaults.own
    )
    before = torch.random.get_rng_state()
    done = run_task(name, prepared, str(weights), tmp_path, config, log=lambda _: None)
    assert torch.equal(before, torch.random.get_rng_state()) or steps
    first = done.rows[0]
    assert first["metric"] == done.task.primary or name == "retrieval"
    assert first["loaded_share"] == 1.0
    assert first["disjoint"].startswith("yes")
    assert first["num_patients"] == 4 and first["evaluation_set"] == "val"
    assert len(list((tmp_path / "predictions" / "val").glob("*.json"))) == 4


def test_labels_in_common_over_labels_of_either():
    labels = np.array([[1, 1, 0], [1, 0, 0], [0, 0, 0]], dtype=bool)
    assert jaccard_table(labels).tolist() == [[1, 0.5, 0], [0.5, 1, 0], [0, 0, 0]]
