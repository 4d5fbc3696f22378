import numpy as np
import pytest
import torch

from mg3d.config import change
from mg3d.data.dataset import VolumeReportDataset
from mg3d.data.labels import CT_RATE_FINDINGS
from mg3d.evaluation.zero_shot import finding_direction
from mg3d.explain.occlusion import (
    cover_blocks,
    cover_drops,
    elsewhere,
    explain_finding,
    pick_patient,
)
from mg3d.objectives.clip import CLIP
from mg3d.training.step import build_pretraining

FINDING = "Lung nodule"
PLACE = (1, 2, 0)  # of the block that the planted model looks at, on a grid of 4 x 4 x 4
BLOCK = tuple(slice(8 * p, 8 * p + 8) for p in PLACE)


@pytest.fixture
def looking(config, text_encoder, monkeypatch):
    """A model that states the finding as surely as one block of the volume is bright."""
    pretraining = build_pretraining(config, text_encoder)
    model, head = pretraining.model, pretraining.find(CLIP)
    direction = finding_direction(model, head, FINDING)

    def embed(volume):
        return volume[(slice(None), 0, *BLOCK)].mean((1, 2, 3))[:, None] * direction

    monkeypatch.setattr(model, "embed_volumes", embed)
    head.volume_head = torch.nn.Identity()
    return pretraining


def test_each_copy_has_one_block_covered_in_c_order():
    volume, cover = torch.rand(1, 4, 2, 6), torch.full((1, 4, 2, 6), -1.0)
    copies = cover_blocks(volume, cover, 2)
    assert copies.shape == (6, 1, 4, 2, 6)
    corners = [(h, d) for h in (0, 2) for d in (0, 2, 4)]
    for copy, (h, d) in zip(copies, corners, strict=True):
        expected = volume.clone()
        expected[:, h : h + 2, :, d : d + 2] = -1
        assert copy.equal(expected)


def test_blocks_that_do_not_fill_the_volume_are_refused():
    volume = torch.rand(1, 4, 2, 6)
    with pytest.raises(ValueError, match=r"\(4, 2, 6\) must be made of whole blocks of 4"):
        cover_blocks(volume, volume, 4)


@pytest.mark.parametrize("batch_size", [48, 7])
def test_the_map_is_0_but_at_the_block_the_model_looks_at(looking, batch_size):
    volume, cover = torch.rand(1, 32, 32, 32), torch.full((1, 32, 32, 32), 0.1)
    drop = explain_finding(looking, volume, FINDING, cover, block=8, batch_size=batch_size)
    assert drop.shape == (4, 4, 4)
    expected = volume[(0, *BLOCK)].mean() - 0.1
    assert expected > 0
    assert float(drop[PLACE]) == pytest.approx(float(expected), rel=1e-3)
    rest = drop.clone()
    rest[PLACE] = 0
    assert rest.abs().max() < 1e-6


def test_a_cover_that_states_the_finding_more_gives_a_negative_drop(looking):
    dark, bright = torch.zeros(1, 32, 32, 32), torch.ones(1, 32, 32, 32)
    assert explain_finding(looking, dark, FINDING, bright, block=8)[PLACE] < 0


@pytest.mark.parametrize("training", [True, False])
def test_a_real_model_is_explained_and_left_as_it_was(config, text_encoder, training):
    pretraining = build_pretraining(config, text_encoder).train(training)
    volume = torch.rand(1, 32, 32, 32)
    drop = explain_finding(pretraining, volume, FINDING, torch.zeros_like(volume), block=16)
    assert drop.shape == (2, 2, 2) and drop.isfinite().all() and drop.abs().max() > 0
    assert pretraining.model.training is training
    same = explain_finding(pretraining, volume, FINDING, volume, block=16)
    assert same.abs().max() < 1e-6  # covered by itself, nothing is


def test_a_model_without_clip_head_says_what_to_do(config, text_encoder):
    config = change(config, weights=config.weights.without("clip"))
    pretraining = build_pretraining(config, text_encoder)
    volume = torch.rand(1, 32, 32, 32)
    with pytest.raises(ValueError, match="train with weight clip > 0"):
        explain_finding(pretraining, volume, FINDING, volume, block=8)


def test_the_patient_with_the_largest_sign_is_picked(prepared, text_encoder, monkeypatch):
    val = VolumeReportDataset(
        prepared, "val", text_encoder.tokenizer, max_tokens=96, volume_shape=(32, 32, 32)
    )
    val.rows[FINDING] = [1.0, 0.0, 1.0, np.nan]
    sizes = {0: 3, 1: 500, 2: 7, 3: 900}

    def mask(row, finding):
        assert finding == FINDING
        return torch.arange(1000) < sizes[row]

    monkeypatch.setattr(val, "load_mask", mask)
    assert pick_patient(val, FINDING) == 2
    val.rows[FINDING] = 0.0
    assert pick_patient(val, FINDING) == 0
    assert FINDING in CT_RATE_FINDINGS


def test_elsewhere_is_a_region_of_the_same_size_apart_and_inside():
    mask = torch.zeros(16, 16, 16, dtype=torch.bool)
    mask[2:5, 2:5, 2:5] = True
    within = torch.zeros_like(mask)
    within[:, :, :10] = True
    region = elsewhere(mask, within)
    assert region.sum() == mask.sum() and not (region & mask).any() and within[region].all()
    assert region.equal(elsewhere(mask, within)) and not region.equal(
        elsewhere(mask, within, seed=1)
    )


def test_covering_what_the_model_looks_at_drops_its_score(
    looking, prepared, text_encoder, monkeypatch
):
    val = VolumeReportDataset(
        prepared, "val", text_encoder.tokenizer, max_tokens=96, volume_shape=(32, 32, 32)
    )
    val.rows[FINDING] = [1.0, 0.0, 1.0, 1.0]
    masks = [torch.zeros(32, 32, 32, dtype=torch.bool) for _ in range(4)]
    for mask in masks[:3]:  # the last one has the finding, but no mask
        mask[BLOCK] = True
    monkeypatch.setattr(val, "load_mask", lambda row, finding: masks[row])
    drops = cover_drops(looking, val, FINDING, torch.full((1, 32, 32, 32), 0.1))
    expected = [float(val.load_volume(row)[(0, *BLOCK)].mean()) - 0.1 for row in (0, 2)]
    assert np.allclose(drops.own, expected, atol=1e-4) and len(drops.own) == 2
    assert np.abs(drops.elsewhere).max() < min(expected) / 2
    assert drops.difference().low > 0 and drops.mean("own").n == 2
