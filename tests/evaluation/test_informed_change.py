from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from mg3d.config import change
from mg3d.evaluation.informed_change import InformedChange, informed_change
from mg3d.training.heldout import held_out_batches
from mg3d.training.patients import load_patients
from mg3d.training.step import build_pretraining


@pytest.fixture
def val(config, prepared, text_encoder):
    return load_patients(config, prepared, text_encoder.tokenizer)[1]


@pytest.fixture
def pretraining(config, text_encoder):
    """With gates that are wide open or shut, as the volume says; fresh ones hardly differ."""
    pretraining = build_pretraining(config, text_encoder).eval()
    with torch.no_grad():
        pretraining.model.volume_pooler.output.weight *= 100
        for layer in pretraining.model.informed.layers:
            layer.gates.query.weight *= 100
    return pretraining


@torch.no_grad()
def test_changes_are_means_over_the_sentences_of_each_patient(
    config, val, pretraining, text_encoder
):
    (batch,) = held_out_batches(val, config, text_encoder, "cpu")
    found = informed_change(pretraining, val, config, "cpu")
    ssm = pretraining.objectives["ssm"]
    for row in range(len(batch)):
        told = []
        for giver in (row, row - 1):
            shown = replace(batch, volume=batch.volume[[giver] * len(batch)])
            features = pretraining.model(shown).informed_sentences[row]
            told.append([ssm.visual(z[None])[0] for z in features[: len(batch.sentences[row])]])
        own, other = told
        volume = [1 - float(F.cosine_similarity(a, b, dim=0)) for a, b in zip(own, other)]  # noqa: B905
        sentence = [
            1 - float(F.cosine_similarity(a, b, dim=0)) for a in own for b in own if a is not b
        ]
        assert found.volume[row] == pytest.approx(np.mean(volume), abs=1e-5)
        assert found.sentence[row] == pytest.approx(np.mean(sentence), abs=1e-5)
    assert len(found.volume) == len(batch) and found.volume.min() > 1e-4


def test_a_model_that_reads_no_volume_changes_nothing(config, val, pretraining):
    with torch.no_grad():
        for parameter in pretraining.model.volume_projection.parameters():
            parameter.zero_()
    found = informed_change(pretraining, val, config, "cpu")
    np.testing.assert_allclose(found.volume, 0, atol=1e-6)
    assert found.sentence.min() > 0


def test_the_ratio_is_that_of_the_means():
    score = InformedChange(np.array([0.1, 0.3]), np.array([1.0, 1.0])).ratio()
    assert score.value == pytest.approx(0.2) and score.n == 2
    assert score.low < 0.2 < score.high


def test_weights_without_ssm_are_refused(config, val, text_encoder):
    config = change(config, weights=config.weights.only("clip"))
    with pytest.raises(ValueError, match="trained without SSM"):
        informed_change(build_pretraining(config, text_encoder), val, config, "cpu")
