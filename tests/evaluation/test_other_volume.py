"""What MLM loses when every report gets another patient's volume."""

import math
from dataclasses import replace

import pytest
import torch

from mg3d.config import change
from mg3d.evaluation.other_volume import mlm_rise
from mg3d.training.heldout import held_out_batches
from mg3d.training.patients import load_patients
from mg3d.training.step import build_pretraining


@pytest.fixture
def val(config, prepared, text_encoder):
    return load_patients(config, prepared, text_encoder.tokenizer)[1]


@pytest.fixture
def pretraining(config, text_encoder):
    return build_pretraining(config, text_encoder)


def test_the_rise_is_each_patients_loss_of_the_swap_less_that_of_the_own(
    config, val, pretraining, text_encoder
):
    rise = mlm_rise(pretraining, val, config, "cpu", draws=1)
    (batch,) = held_out_batches(val, config, text_encoder, "cpu")
    pretraining.eval()
    rises = []
    with torch.no_grad():
        for patient in range(len(batch)):
            own, other = (
                replace(batch, volume=batch.volume[[giver] * len(batch)])
                for giver in (patient, patient - 1)
            )
            losses = []
            for shown in (own, other):
                words = pretraining.model(shown).repaired_words[patient]
                chances = pretraining.objectives["mlm"].decoder(words).softmax(dim=-1)
                hidden = batch.word_mask[patient].nonzero().flatten().tolist()
                told = [float(chances[place, batch.tokens[patient, place]]) for place in hidden]
                losses.append(-sum(map(math.log, told)) / len(told))
            rises.append(losses[1] - losses[0])
    assert rise.value == pytest.approx(sum(rises) / len(rises), abs=1e-6)
    assert min(rises) - 1e-6 <= rise.low < rise.value < rise.high <= max(rises) + 1e-6
    assert rise.n == len(val.patients)
    assert abs(rise.value) > 1e-5  # or the comparison could not fail


def test_a_model_that_reads_no_volume_loses_exactly_nothing(config, val, pretraining):
    with torch.no_grad():
        for parameter in pretraining.model.volume_projection.parameters():
            parameter.zero_()
    rise = mlm_rise(pretraining, val, config, "cpu")
    assert (rise.value, rise.low, rise.high) == (0.0, 0.0, 0.0)


def test_more_draws_ask_other_words(config, val, pretraining):
    first, more = (mlm_rise(pretraining, val, config, "cpu", draws=n).value for n in (1, 3))
    assert first != more
    assert first == mlm_rise(pretraining, val, config, "cpu", draws=1).value


def test_the_model_comes_back_as_it_was(config, val, pretraining):
    pretraining.train()
    mlm_rise(pretraining, val, config, "cpu", draws=1)
    assert pretraining.training and pretraining.model.training


def test_there_is_no_rise_without_mlm_or_without_another_patient(config, val, pretraining):
    alone = change(config, batch_size=1)
    assert mlm_rise(pretraining, val, alone, "cpu") is None
    config = change(config, weights=config.weights.without("mlm"))
    without = build_pretraining(config, pretraining.model.text_encoder)
    assert mlm_rise(without, val, config, "cpu") is None
