import numpy as np
import pytest
import torch

from mg3d.config import change
from mg3d.data.dataset import VolumeReportDataset
from mg3d.evaluation.encode import encode_patients, project_volumes
from mg3d.evaluation.probe import linear_probe
from mg3d.evaluation.zero_shot import zero_shot_scores
from mg3d.explain.targets import probe_logits, sentence_targets, zero_shot_targets
from mg3d.objectives.clip import CLIP
from mg3d.training.step import build_pretraining

FINDINGS = ("Lung nodule", "Pleural effusion")


@pytest.fixture
def trained(config, text_encoder):
    return build_pretraining(config, text_encoder).eval()


@pytest.fixture
def splits(prepared, text_encoder):
    return [
        VolumeReportDataset(
            prepared, split, text_encoder.tokenizer, max_tokens=96, volume_shape=(32, 32, 32)
        )
        for split in ("train", "val")
    ]


def volumes_of(dataset):
    return torch.stack([dataset.load_volume(row) for row in dataset.first_volumes])


def test_the_probes_logits_are_those_of_the_evaluation(trained, splits):
    train, val = splits
    fitted, held_out = (encode_patients(trained.model, split) for split in splits)
    probe = linear_probe(
        fitted.encoder_features, fitted.labels, held_out.encoder_features, held_out.labels
    )
    logits = probe_logits(trained.model, train)(volumes_of(val))
    assert logits.shape == (4, 18) and np.abs(probe.scores).max() > 0.1
    assert np.allclose(logits.detach(), probe.scores, atol=1e-3)


def test_zero_shot_targets_are_the_zero_shot_scores(trained, splits):
    val = splits[1]
    head = trained.find(CLIP)
    vectors = project_volumes(head, encode_patients(trained.model, val))
    expected = zero_shot_scores(trained.model, head, vectors, FINDINGS)
    scores = zero_shot_targets(trained, FINDINGS)(volumes_of(val))
    assert np.allclose(scores.detach(), expected, atol=1e-5)


def test_a_sentence_is_scored_by_its_own_direction(trained, splits):
    sentences = ["there is a pleural effusion.", "the heart is enlarged."]
    volumes = volumes_of(splits[1])
    scores = sentence_targets(trained, sentences)(volumes)
    assert scores.shape == (4, 2) and scores.abs().max() <= 1
    alone = sentence_targets(trained, sentences[1:])(volumes)
    assert torch.allclose(scores[:, 1:], alone, atol=1e-6)
    assert not torch.allclose(scores[:, 0], scores[:, 1])
    assert scores.requires_grad


@pytest.mark.parametrize("target", [zero_shot_targets, sentence_targets])
def test_scores_by_words_need_a_clip_head(config, text_encoder, target):
    config = change(config, weights=config.weights.without("clip"))
    with pytest.raises(ValueError, match="train with weight clip > 0"):
        target(build_pretraining(config, text_encoder), FINDINGS)
