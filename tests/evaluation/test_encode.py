from dataclasses import fields

import numpy as np
import pytest
import torch

from mg3d.config import change
from mg3d.data.batch import collate
from mg3d.data.dataset import VolumeReportDataset
from mg3d.evaluation.encode import (
    batch_sentences,
    embed_words,
    encode_patients,
    project_reports,
    project_volumes,
)
from mg3d.evaluation.probe import linear_probe
from mg3d.objectives.clip import CLIP
from mg3d.training.step import build_pretraining

FINDING, COLUMN = "Lung opacity", 10


def dark_with_a_bright_cube(patient, number, plan):
    """Noise, and in patients with the finding a bright cube at a place that varies."""
    numbers = np.random.default_rng([patient, number])
    voxels = numbers.integers(60, 100, (32, 32, 32))
    if plan.labels()[COLUMN]:
        corner = numbers.integers(0, 20, 3)
        voxels[tuple(slice(c, c + 12) for c in corner)] += 80
    return voxels


@pytest.fixture
def pretraining(config, text_encoder):
    return build_pretraining(config, text_encoder)


@pytest.fixture
def load(tokenizer):
    def dataset(folder, split):
        return VolumeReportDataset(folder, split, tokenizer, max_tokens=96, volume_shape=(32,) * 3)

    return dataset


@pytest.fixture
def tokenizer(text_encoder):
    return text_encoder.tokenizer


@pytest.fixture
def val(load, prepared):
    return load(prepared, "val")


def arrays(encoded):
    return {k: v for k, v in vars(encoded).items() if isinstance(v, np.ndarray)}


def test_every_patient_has_one_row_in_the_order_of_the_data_set(pretraining, val, text_encoder):
    encoded = encode_patients(pretraining.model, val)
    assert encoded.patient_id == ("val_9", "val_10", "val_11", "val_12")
    shapes = {name: value.shape for name, value in arrays(encoded).items()}
    assert shapes == {
        "encoder_features": (4, 2 * 8),
        "volume_vector": (4, 32),
        "report_vector": (4, 32),
        "report_words": (4, text_encoder.width),
        "labels": (4, 18),
    }
    assert encoded.label_names == tuple(val.label_names)
    assert {item.name for item in fields(encoded)} == {"patient_id", "label_names", *shapes}


def test_vectors_are_those_the_objectives_see(pretraining, val, text_encoder):
    encoded = encode_patients(pretraining.model, val)
    batch = collate(text_encoder.pad_token)([val[row] for row in range(4)])
    with torch.no_grad():
        features = pretraining.model(batch)
    np.testing.assert_allclose(encoded.volume_vector, features.volume_vector, atol=1e-5)
    np.testing.assert_allclose(encoded.report_vector, features.report_vector, atol=1e-5)
    np.testing.assert_array_equal(encoded.labels, val.labels())


def test_encoder_features_are_mean_and_maximum_over_the_volume(pretraining, val):
    encoded = encode_patients(pretraining.model, val)
    with torch.no_grad():
        tokens = pretraining.model.encoder(val.load_volume(2)[None])[-1][0].flatten(1).numpy()
    expected = np.concatenate([tokens.mean(1), tokens.max(1)])
    np.testing.assert_allclose(encoded.encoder_features[2], expected, atol=1e-5)


def test_report_words_are_the_mean_of_the_sentences_means(pretraining, val, text_encoder):
    encoded = encode_patients(pretraining.model, val)
    report = val.reports[1]
    whole = report.tokens[None]
    states = text_encoder(whole, torch.zeros_like(whole, dtype=torch.bool)).embedded[0]
    sentences = [states[report.sentence == k].mean(0) for k in range(len(report.sentences))]
    np.testing.assert_allclose(encoded.report_words[1], torch.stack(sentences).mean(0), atol=1e-5)


def test_the_batch_size_changes_nothing(pretraining, val):
    whole = arrays(encode_patients(pretraining.model, val))
    for name, value in arrays(encode_patients(pretraining.model, val, batch_size=3)).items():
        np.testing.assert_allclose(value, whole[name], atol=1e-5, err_msg=name)


def test_of_several_volumes_the_first_is_encoded(pretraining, load, tmp_path, write_patients):
    both = load(write_patients(tmp_path / "data", ["val", "val"], 3), "val")
    encoded = encode_patients(pretraining.model, both)
    with torch.no_grad():
        expected = pretraining.model.embed_volumes(both.load_volume(3)[None])[0]
    np.testing.assert_allclose(encoded.volume_vector[1], expected, atol=1e-5)


@pytest.mark.parametrize("training", [True, False])
def test_the_model_is_left_as_it_was(pretraining, val, training):
    pretraining.train(training)
    modes = []
    pretraining.model.encoder.register_forward_hook(
        lambda module, *_: modes.append(module.training)
    )
    encode_patients(pretraining.model, val)
    assert modes and not any(modes)
    assert pretraining.model.training is training
    assert all(p.grad is None and p.requires_grad for p in pretraining.model.parameters())


@pytest.fixture(params=["vector", "words"])
def head_and_model(request, config, text_encoder):
    pretraining = build_pretraining(change(config, clip_text=request.param), text_encoder)
    return pretraining.find(CLIP), pretraining.model


def test_projections_are_unit_vectors_of_the_clip_head(head_and_model, val, text_encoder):
    head, model = head_and_model
    encoded = encode_patients(model, val)
    batch = collate(text_encoder.pad_token)([val[row] for row in range(4)])
    with torch.no_grad():
        compared = head.eval().compare(model(batch), batch)
    head.train()  # as a run leaves it: what is projected does not depend on it
    reports, volumes = project_reports(head, encoded), project_volumes(head, encoded)
    np.testing.assert_allclose(reports @ volumes.T, compared, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(reports, axis=1), 1, rtol=1e-5)


def test_projecting_leaves_the_head_as_it_was(head_and_model, val):
    head, model = head_and_model
    encoded = encode_patients(model, val)
    before = {name: value.clone() for name, value in head.state_dict().items()}
    for training in (True, False):
        head.train(training)
        project_reports(head, encoded)
        assert head.training is head.report_head.training is training
    assert all(value.equal(before[name]) for name, value in head.state_dict().items())


def test_sentences_become_reports_of_one_sentence(pretraining, text_encoder):
    sentences = ["no effusion.", "there is a large nodule in the left upper lobe."]
    batch = batch_sentences(pretraining.model, sentences)
    assert batch.sentences == tuple((sentence,) for sentence in sentences)
    together = embed_words(pretraining.model, batch)
    alone = embed_words(pretraining.model, batch_sentences(pretraining.model, sentences[:1]))
    torch.testing.assert_close(together[:1], alone)
    assert (together[0] - together[1]).abs().max() > 1e-3


def test_a_planted_sign_is_read_off_the_encoder_and_no_other_finding_is(
    config, text_encoder, load, tmp_path, write_patients
):
    config = change(config, encoder_settings={"channels": (8, 16, 32)}, mim_output_stride=1)
    model = build_pretraining(config, text_encoder).model

    folder = write_patients(
        tmp_path / "data", ["train"] * 80 + ["val"] * 50, voxels=dark_with_a_bright_cube
    )
    fitted, held_out = (encode_patients(model, load(folder, split)) for split in ("train", "val"))
    probe = linear_probe(
        fitted.encoder_features,
        fitted.labels,
        held_out.encoder_features,
        held_out.labels,
        names=held_out.label_names,
    )
    assert probe.per_finding[FINDING] > 0.95
    others = [area for name, area in probe.per_finding.items() if name != FINDING]
    assert abs(np.nanmean(others) - 0.5) < 0.12  # what goes with the finding is a little above
