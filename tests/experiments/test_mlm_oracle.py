"""The oracle tells every label, and nothing else."""

import pytest
import torch

from mg3d.config import change
from mg3d.data.manifest import read_manifest
from mg3d.experiments.mlm_oracle import Oracle, patients, run_one


@pytest.fixture
def text(text_encoder):
    return text_encoder


def labels_of(folder):
    return read_manifest(folder).labels


def test_a_patient_is_its_labels_and_a_constant(config, prepared, text):
    told = patients(prepared, "val", config, text, len(labels_of(prepared)))
    told.rows[told.label_names[0]] = [1.0, 0.0, float("nan"), 1.0]
    first = [float(told.load_volume(row).flatten()[0]) for row in range(4)]
    assert first == [1.0, 0.0, 0.0, 1.0]
    assert all(float(told.load_volume(row).flatten()[-1]) == 1.0 for row in range(4))


def test_a_label_is_its_token_and_no_label_is_none():
    oracle = Oracle(3, 16)
    (tokens,) = oracle(torch.tensor([1.0, 0.0, 1.0]).view(1, 1, 1, 1, 3))
    assert tokens.shape == (1, 16, 1, 1, 3)
    assert tokens[0, :, 0, 0, 0].equal(oracle.directions[:, 0])
    assert not tokens[0, :, 0, 0, 1].any()
    assert not list(oracle.parameters())


@pytest.mark.parametrize("attention", ["gated", "softmax"])
def test_a_run_learns_and_says_what_it_was(config, prepared, text, attention):
    config = change(
        config,
        weights=config.weights.only("mlm"),
        attention=attention,
        total_steps=3,
        learning_rate=1e-2,
        warmup_steps=1,
    )
    run = run_one(prepared, config, text, len(labels_of(prepared)))
    start = run_one(prepared, change(config, learning_rate=0.0), text, len(labels_of(prepared)))
    assert run["mlm"] < start["mlm"]
    assert (run["attention"], run["steps"]) == (attention, 3)
    low, high = run["mlm_rise_interval"]
    assert low <= run["mlm_rise"] <= high
