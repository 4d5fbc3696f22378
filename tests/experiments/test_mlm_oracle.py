"""The oracle tells every label, and nothing else."""

import argparse

import pytest
import torch

from mg3d.config import change
from mg3d.data.manifest import read_manifest
from mg3d.experiments.grid import Point, run_grid
from mg3d.experiments.mlm_oracle import Oracle, oracle_points, patients, score_oracle
from mg3d.experiments.scored import settings_of


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


def told_points(folder, config):
    settings, free = settings_of(config)
    return Point(settings={"config": settings}, free=free, data=folder)


def test_the_grid_has_both_attentions_and_few_and_many_hidden_words(tmp_path):
    asked = argparse.Namespace(preset="tiny", seeds=[0, 1], steps=7, data=tmp_path)
    rows = [tuple(point.columns.values()) for point in oracle_points(asked)]
    assert len(set(rows)) == 8
    assert rows[:4] == [
        *[("gated", ratio, 0, 7) for ratio in (0.15, 0.75)],
        *[("softmax", ratio, 0, 7) for ratio in (0.15, 0.75)],
    ]


@pytest.mark.parametrize("attention", ["gated", "softmax"])
def test_a_run_learns_and_is_scored(config, prepared, tmp_path, attention):
    config = change(
        config,
        weights=config.weights.only("mlm"),
        attention=attention,
        total_steps=3,
        learning_rate=1e-2,
        warmup_steps=1,
    )
    before, after = (
        told_points(prepared, change(config, learning_rate=0.0)),
        told_points(prepared, config),
    )
    table = run_grid([before, after], score_oracle, tmp_path, log=lambda _: None)
    start, end = table[table["score"] == "loss_mlm_final"]["value"]
    assert end < start
    rise = table[table["score"] == "mlm_rise"].iloc[-1]
    assert rise["low"] <= rise["value"] <= rise["high"]
    assert rise["n"] == 4
