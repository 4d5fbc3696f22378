import math

import numpy as np
import pytest
import torch

from mg3d.config import change
from mg3d.evaluation.dfa_swaps import (
    BY_REPORT,
    BY_VOLUME,
    ONE_REPORT,
    ONE_VOLUME,
    OWN,
    Matches,
    dfa_swaps,
    patient_losses,
    with_one_report,
)
from mg3d.model import MG3D, Features
from mg3d.objectives.contrastive import symmetric_cross_entropy
from mg3d.training.heldout import held_out_batches, held_out_losses
from mg3d.training.patients import load_patients
from mg3d.training.step import build_pretraining


@pytest.fixture
def case(config, prepared, text_encoder):
    train, val = load_patients(config, prepared, text_encoder.tokenizer)
    return build_pretraining(config, text_encoder), val, config, "cpu", train.mean_volume()


def test_unchanged_patients_cost_what_dfa_costs(case):
    found = dfa_swaps(*case)
    losses = held_out_losses(*case[:4])
    assert found[OWN].mean_loss().value == pytest.approx(losses["dfa"], abs=1e-5)
    assert found[OWN].mean_loss().n == len(found[OWN].hit) == 4
    assert len({round(float(matches.loss.mean()), 6) for matches in found.values()}) == 5


def reading(which):
    """A forward pass that gives both sides of DFA the same vector, made of one modality."""

    def forward(self, batch, needed):
        told = batch.volume.flatten(1) if which == "volume" else batch.tokens.float()
        told = torch.nn.functional.pad(told, (0, 4096))[:, :4096]
        vector = told @ torch.randn(4096, 32, generator=torch.Generator().manual_seed(0))
        return Features(
            token_grid=self.token_grid, fused_volume_vector=vector, aggregate=vector.clone()
        )

    return forward


@pytest.mark.parametrize("which", ["report", "volume"])
def test_a_model_that_reads_one_modality_is_found_by_it_alone(case, monkeypatch, which):
    pretraining, val, *_ = case
    monkeypatch.setattr(MG3D, "forward", reading(which))
    dfa = pretraining.objectives["dfa"]
    dfa.aggregate_head.load_state_dict(dfa.volume_head.state_dict())  # equal vectors match
    hits = {name: float(matches.hit.mean()) for name, matches in dfa_swaps(*case).items()}
    alike, unlike = (ONE_VOLUME, ONE_REPORT) if which == "report" else (ONE_REPORT, ONE_VOLUME)
    right, wrong = (BY_REPORT, BY_VOLUME) if which == "report" else (BY_VOLUME, BY_REPORT)
    assert hits[OWN] == hits[alike] == hits[right] == 1
    assert hits[unlike] == pytest.approx(1 / len(val.patients)) and hits[wrong] == 0


def test_losses_of_patients_average_to_the_loss():
    logits = torch.randn(5, 5, generator=torch.Generator().manual_seed(0))
    assert torch.isclose(patient_losses(logits).mean(), symmetric_cross_entropy(logits))
    assert torch.allclose(patient_losses(torch.zeros(3, 3)), torch.full((3,), math.log(3)))


def test_one_report_leaves_the_volumes_as_they_are(case, text_encoder):
    _, val, config, *_ = case
    batch = next(held_out_batches(val, config, text_encoder, "cpu"))
    alike = with_one_report(batch, row=1)
    assert torch.equal(alike.volume, batch.volume)
    assert set(alike.sentences) == {batch.sentences[1]}
    assert torch.equal(alike.tokens, batch.tokens[[1] * len(batch)])


def test_scores_are_means_over_patients():
    matches = Matches(np.array([1.0, 3.0]), np.array([1.0, 0.0]))
    assert matches.mean_loss().value == 2 and matches.found().value == 0.5


def test_weights_without_dfa_are_refused(case, config, text_encoder):
    config = change(config, weights=config.weights.only("clip"))
    with pytest.raises(ValueError, match="trained without DFA"):
        dfa_swaps(build_pretraining(config, text_encoder), *case[1:])
