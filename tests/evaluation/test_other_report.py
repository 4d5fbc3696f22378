from dataclasses import replace

import numpy as np
import pytest
import torch

from mg3d.config import change
from mg3d.evaluation.other_report import ReconstructionErrors, mim_errors
from mg3d.objectives.mim import MIM, mean_volume_loss
from mg3d.training.heldout import held_out_batches
from mg3d.training.patients import load_patients
from mg3d.training.step import build_pretraining


@pytest.fixture
def case(config, prepared, text_encoder):
    train, val = load_patients(config, prepared, text_encoder.tokenizer)
    return build_pretraining(config, text_encoder), val, config, "cpu", train.mean_volume()


def test_errors_are_mims_loss_and_that_of_the_mean_volume(case):
    pretraining, val, config, device, mean = case
    errors = mim_errors(*case)
    mim = pretraining.find(MIM)
    only = replace(config, weights=config.weights.only("mim"))
    (batch,) = held_out_batches(val, only, pretraining.model.text_encoder, device)
    with torch.no_grad():
        loss = float(mim(pretraining.model.eval()(batch), batch))
    assert len(errors.own) == len(batch) == 4
    assert errors.own.mean() == pytest.approx(loss, rel=1e-4)  # as many voxels hidden in each
    trivial = mean_volume_loss(mean, batch.volume, batch.voxel_mask, mim.output_stride)
    assert errors.mean.mean() == pytest.approx(float(trivial), rel=1e-4)
    assert np.any(errors.own != errors.other)


def test_a_model_that_reads_no_report_has_no_rise(case, monkeypatch):
    fill = MIM.decode
    monkeypatch.setattr(MIM, "decode", lambda self, tokens: fill(self, torch.ones_like(tokens)))
    errors = mim_errors(*case)
    np.testing.assert_allclose(errors.own, errors.other, rtol=1e-5)


def test_scores_are_a_share_and_a_difference():
    errors = ReconstructionErrors(np.array([1.0, 2.0]), np.array([2.0, 4.0]), np.array([2.0, 4.0]))
    assert errors.removed().value == 0.5
    assert errors.rise().value == 1.5 and errors.rise().n == 2


def test_weights_without_mim_are_refused(case, config, text_encoder):
    config = change(config, weights=config.weights.only("clip"))
    with pytest.raises(ValueError, match="trained without MIM"):
        mim_errors(build_pretraining(config, text_encoder), *case[1:])
