from dataclasses import replace as with_fields

import numpy as np
import pytest
import torch

from mg3d.config import change
from mg3d.data.dataset import VolumeReportDataset
from mg3d.data.labels import CT_RATE_FINDINGS
from mg3d.evaluation import zero_shot as module
from mg3d.evaluation.encode import batch_sentences, embed_words, encode_patients
from mg3d.evaluation.zero_shot import finding_direction, zero_shot, zero_shot_scores
from mg3d.objectives.clip import CLIP
from mg3d.text.prompts import PROMPTS
from mg3d.training.step import build_pretraining


@pytest.fixture(params=["vector", "words"])
def asked(request, config, text_encoder):
    pretraining = build_pretraining(change(config, clip_text=request.param), text_encoder)
    head = pretraining.find(CLIP)
    if head.text == "words":  # as after some training: features differ in how much they vary
        head.report_head.variance.uniform_(0.5, 2.0, generator=torch.Generator().manual_seed(0))
    return pretraining.model, head


def test_every_finding_can_be_asked_for():
    assert set(PROMPTS) == set(CT_RATE_FINDINGS)
    assert all(stated and denied for stated, denied in PROMPTS.values())


@torch.no_grad()
def test_the_direction_leads_from_denied_to_stated_by_hand(asked):
    model, head = asked
    for finding in ("Lung nodule", "Cardiomegaly"):
        stated, denied = (batch_sentences(model, prompts) for prompts in PROMPTS[finding])
        if head.text == "words":  # of unit-free words: the head is linear, its mean cancels
            mean = embed_words(model, stated).mean(0) - embed_words(model, denied).mean(0)
            scaled = mean / (head.report_head.variance + 1e-5).sqrt()
            change = head.report_head.projection.weight @ scaled
        else:
            vectors = (head.report_head(model.embed_reports(batch)) for batch in (stated, denied))
            mean_stated, mean_denied = (v.mean(0) for v in vectors)
            change = mean_stated - mean_denied
        torch.testing.assert_close(finding_direction(*asked, finding), change / change.norm())


def test_the_score_is_the_cosine_with_the_direction(asked):
    volumes = np.eye(32, dtype=np.float32)[:3]
    scores = zero_shot_scores(*asked, volumes)
    assert scores.shape == (3, 18)
    for column, finding in enumerate(CT_RATE_FINDINGS):
        direction = finding_direction(*asked, finding)
        assert float(direction.norm()) == pytest.approx(1, abs=1e-5)
        np.testing.assert_allclose(scores[:, column], direction[:3], atol=1e-6)


def test_findings_can_be_chosen_in_any_order(asked):
    volumes = np.eye(32, dtype=np.float32)[:3]
    whole = zero_shot_scores(*asked, volumes)
    chosen = zero_shot_scores(*asked, volumes, ("Emphysema", "Cardiomegaly"))
    np.testing.assert_array_equal(chosen, whole[:, [7, 2]])


def test_volumes_that_look_like_what_is_stated_are_found(
    asked, prepared, text_encoder, monkeypatch
):
    """Volume vectors planted at the prompts: patients with a finding where it is stated."""
    val = VolumeReportDataset(
        prepared, "train", text_encoder.tokenizer, max_tokens=96, volume_shape=(32, 32, 32)
    )
    encoded = encode_patients(asked[0], val)
    axes = np.stack([finding_direction(*asked, name).numpy() for name in CT_RATE_FINDINGS])
    planted = (2 * encoded.labels - 1) @ np.linalg.pinv(axes).T  # so that planted @ axes.T = +-1
    monkeypatch.setattr(module, "project_volumes", lambda head, encoded: planted)
    result = zero_shot(*asked, encoded)
    decided = [area for area in result.per_finding.values() if np.isfinite(area)]
    assert decided and min(decided) == 1.0
    assert result.macro.value == 1.0
    assert result.macro.n == 9
    monkeypatch.setattr(module, "project_volumes", lambda head, encoded: -planted)
    assert zero_shot(*asked, encoded).macro.value == 0.0


def test_only_labels_with_prompts_are_scored_whatever_else_a_data_set_has(
    asked, prepared, text_encoder
):
    val = VolumeReportDataset(
        prepared, "train", text_encoder.tokenizer, max_tokens=96, volume_shape=(32, 32, 32)
    )
    encoded = encode_patients(asked[0], val)
    column = CT_RATE_FINDINGS.index("Emphysema")
    others = with_fields(
        encoded,
        labels=encoded.labels[:, [0, column]],
        label_names=("of another data set", "Emphysema"),
    )
    whole, part = zero_shot(*asked, encoded), zero_shot(*asked, others)
    assert list(part.per_finding) == ["Emphysema"]
    np.testing.assert_allclose(part.scores[:, 0], whole.scores[:, column], atol=1e-6)
    nothing = with_fields(
        encoded, labels=encoded.labels[:, :1], label_names=("of another data set",)
    )
    assert zero_shot(*asked, nothing) is None
