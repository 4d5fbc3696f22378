import numpy as np
import pytest

from mg3d.evaluation.metrics import auroc
from mg3d.explain.scoring import score_map

MASK = np.zeros((4, 4, 4), dtype=bool)
MASK[1:3, 1:3, 1] = True  # 4 of 64 voxels


def test_the_mask_itself_is_perfect():
    score = score_map(MASK.astype(float), MASK)
    assert (score.pointing, score.voxel_auroc, score.energy, score.iou) == (1, 1, 1, 1)


def test_a_map_that_is_the_same_everywhere_is_at_chance():
    score = score_map(np.full(MASK.shape, 0.3), MASK)
    assert score.pointing == score.energy == 4 / 64
    assert score.voxel_auroc == 0.5
    assert score.iou == pytest.approx(0.25 / 7.75)  # 4 of 64 taken at random hit 1/4 voxel


def test_the_opposite_of_the_mask_is_worst():
    score = score_map(1.0 - MASK, MASK)
    assert (score.pointing, score.voxel_auroc, score.energy, score.iou) == (0, 0, 0, 0)


def test_one_bright_voxel_wins_the_pointing_game_and_little_else():
    heat = np.where(MASK, -1.0, 0.0)
    heat[1, 1, 1] = 5.0
    score = score_map(heat, MASK)
    assert score.pointing == score.energy == 1
    assert score.voxel_auroc == 0.25
    assert score.iou == pytest.approx(1 / 7)  # 1 of 4 taken is inside, 3 of 60 ties are not


def test_what_speaks_against_a_finding_has_no_energy():
    assert score_map(-MASK.astype(float) - 1, MASK).energy == 0


@pytest.mark.parametrize("mask", [np.zeros((2, 2, 2), bool), np.ones((2, 2, 2), bool)])
def test_a_mask_without_a_border_is_refused(mask):
    with pytest.raises(ValueError, match="of 8 voxels marked cannot score a map"):
        score_map(np.zeros((2, 2, 2)), mask)


def test_voxel_auroc_is_the_auroc_of_the_evaluation_ties_included():
    numbers = np.random.default_rng(0)
    heat = numbers.integers(0, 9, MASK.shape).astype(float)
    assert score_map(heat, MASK).voxel_auroc == pytest.approx(
        auroc(MASK.ravel().astype(float), heat.ravel())
    )
