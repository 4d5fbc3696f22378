import math
from dataclasses import replace as with_fields

import numpy as np
import pytest
import torch

from mg3d.config import change
from mg3d.evaluation.trivial import BASELINES, trivial_losses
from mg3d.objectives import OBJECTIVES
from mg3d.objectives.sfr import SFR
from mg3d.objectives.ssm import SSM, ssm_loss
from mg3d.training.heldout import held_out_batches
from mg3d.training.patients import load_patients, token_counts
from mg3d.training.step import build_pretraining


@pytest.fixture
def config(config):
    return change(config, mim_output_stride=1)


@pytest.fixture
def patients(config, prepared, text_encoder):
    return load_patients(config, prepared, text_encoder.tokenizer)


@pytest.fixture
def pretraining(config, text_encoder):
    return build_pretraining(config, text_encoder)


@pytest.fixture
def batch(patients, config, text_encoder):
    (only,) = held_out_batches(patients[1], config, text_encoder, "cpu")
    return only


@pytest.fixture
def trivial(pretraining, patients, config):
    return trivial_losses(pretraining, *patients, config)


def test_every_objective_has_a_baseline_with_a_name(trivial):
    assert set(BASELINES) == set(OBJECTIVES) == set(trivial.losses)
    assert set(trivial.spread) == {"sfr", "ssm"}
    assert all(math.isfinite(loss) and loss > 0 for loss in trivial.losses.values())
    assert all(0 <= spread <= 1 for spread in trivial.spread.values())


def test_the_mean_volume_by_hand(patients, trivial, batch):
    train, _ = patients
    average = np.mean([train.load_volume(row).double().numpy() for row in range(9)], axis=0)
    np.testing.assert_allclose(train.mean_volume(), average, atol=1e-6)
    hidden = batch.voxel_mask.numpy()
    errors = (batch.volume.numpy() - average)[hidden] ** 2
    assert trivial.losses["mim"] == pytest.approx(errors.mean(), rel=1e-4)


def test_the_unigram_model_by_hand(patients, trivial, batch, text_encoder):
    train, _ = patients
    counts = np.ones(text_encoder.vocabulary_size)  # each token once more than it was seen
    for report in train.reports:
        for token, word in zip(report.tokens.tolist(), report.word.tolist(), strict=True):
            counts[token] += word >= 0
    counted = token_counts(train, text_encoder.vocabulary_size).numpy()
    np.testing.assert_array_equal(counted, counts - 1)
    assert not counted[list(text_encoder.special_tokens)].any()
    surprise = [-np.log(counts[t] / counts.sum()) for t in batch.tokens[batch.word_mask].tolist()]
    assert trivial.losses["mlm"] == pytest.approx(np.mean(surprise), rel=1e-4)


@pytest.mark.parametrize("name", ["cml", "dfa", "clip"])
def test_chance_is_the_logarithm_of_the_batch(trivial, name):
    assert trivial.losses[name] == pytest.approx(math.log(4))


@torch.no_grad()
def test_no_constant_prediction_beats_sfrs_baseline(pretraining, trivial, batch):
    pretraining.eval()
    guesses = pretraining.find(SFR).compare(pretraining.model(batch), batch)
    unit = torch.nn.functional.normalize(guesses.target, dim=-1)
    best = torch.nn.functional.normalize(unit.mean(0), dim=-1)
    constants = [best, *torch.nn.functional.normalize(torch.randn(200, unit.shape[1]), dim=-1)]
    losses = [float((1 - unit @ constant).sum()) / len(batch) for constant in constants]
    assert trivial.losses["sfr"] == pytest.approx(min(losses), rel=1e-4)
    assert min(losses) == losses[0]
    repaired = torch.nn.functional.normalize(guesses.repaired, dim=-1)
    assert trivial.spread["sfr"] == pytest.approx(1 - float(repaired.mean(0).norm()), abs=1e-5)


@torch.no_grad()
def test_no_constant_cosine_beats_ssms_stronger_baseline(pretraining, trivial, batch):
    pretraining.eval()
    pairs = pretraining.find(SSM).compare(pretraining.model(batch), batch)
    losses = [
        float(ssm_loss(with_fields(pairs, visual=torch.full_like(pairs.visual, constant))))
        for constant in torch.linspace(-1, 1, 401).tolist()
    ]
    assert trivial.losses["ssm"] == pytest.approx(losses[-1])  # all the same: cosine 1
    assert trivial.unrelated["ssm"] <= min(losses) + 1e-6
    assert trivial.unrelated["ssm"] == pytest.approx(min(losses), abs=0.01)


def test_baselines_are_means_over_batches_as_the_losses_are(
    pretraining, patients, config, text_encoder
):
    config = change(config, batch_size=2)
    losses = trivial_losses(pretraining, *patients, config).losses
    assert losses["clip"] == pytest.approx(math.log(2))
    average = patients[0].mean_volume()
    by_batch = [
        float((b.volume - average)[b.voxel_mask].square().mean())
        for b in held_out_batches(patients[1], config, text_encoder, "cpu")
    ]
    assert losses["mim"] == pytest.approx(np.mean(by_batch), rel=1e-4)


def test_mims_baseline_is_measured_at_the_resolution_of_its_loss(
    config, patients, text_encoder, trivial
):
    config = change(config, mim_output_stride=2)
    coarse = trivial_losses(build_pretraining(config, text_encoder), *patients, config)
    # These volumes are noise: averaged over 2 x 2 x 2 voxels, an eighth of its variance is left.
    assert coarse.losses["mim"] == pytest.approx(trivial.losses["mim"] / 8, rel=0.1)


def test_only_active_objectives_are_measured(config, patients, text_encoder):
    config = change(config, weights=config.weights.only("mlm", "clip"))
    found = trivial_losses(build_pretraining(config, text_encoder), *patients, config)
    assert set(found.losses) == {"mlm", "clip"}
    assert found.spread == {}


def test_one_held_out_patient_has_no_pair_to_compare(pretraining, patients, config):
    losses = trivial_losses(pretraining, *patients, change(config, batch_size=1)).losses
    assert not {"ssm", "cml", "dfa", "clip"} & set(losses)
    assert {"mim", "mlm", "sfr"} <= set(losses)


def test_only_first_volumes_count(config, text_encoder, tmp_path, write_patients):
    folder = write_patients(tmp_path / "data", ["train", "train", "val"], 2)
    train, _ = load_patients(config, folder, text_encoder.tokenizer)
    expected = (train.load_volume(0) + train.load_volume(2)) / 2
    torch.testing.assert_close(train.mean_volume(), expected)
    words = sum(int((train.reports[row].word >= 0).sum()) for row in (0, 2))
    assert int(token_counts(train, text_encoder.vocabulary_size).sum()) == words


@pytest.mark.parametrize("training", [True, False])
def test_the_model_is_left_as_it_was(pretraining, patients, config, training):
    pretraining.train(training)
    trivial_losses(pretraining, *patients, config)
    assert pretraining.training is training
    assert all(parameter.grad is None for parameter in pretraining.parameters())
