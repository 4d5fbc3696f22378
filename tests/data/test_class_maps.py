from pathlib import Path

import numpy as np
import pytest

from mg3d.volumes.grid import Grid, classes_to_grid
from mg3d.volumes.volume import StoredGrid, Volume


def class_map(voxels, spacing=(1.0, 1.0, 1.0)):
    affine = np.zeros((4, 4))
    affine[[2, 1, 0, 3], [0, 1, 2, 3]] = [*spacing, 1]
    return Volume(voxels, affine, StoredGrid(voxels.shape, np.eye(4)), Path("seg.nii"))


def test_where_nothing_is_resampled_a_class_map_is_copied():
    voxels = np.random.default_rng(0).integers(0, 4, (5, 6, 7))
    for grid in (Grid(None), Grid(None, (1, 1, 1)), Grid((5, 6, 7)), Grid(None, (None, 1, None))):
        np.testing.assert_array_equal(classes_to_grid(class_map(voxels), grid, 3), voxels)


def test_a_new_voxel_gets_the_class_that_fills_most_of_it():
    voxels = np.zeros((2, 2, 8), np.uint8)
    voxels[..., 0:2] = 1
    voxels[..., 4], voxels[..., 5] = 2, 2
    voxels[0, 0, 5] = 3  # 1 of 8, but nowhere else
    voxels[0, 0, 6] = 1  # 1 of 8, and elsewhere too
    found = classes_to_grid(class_map(voxels), Grid((1, 1, 4)), 3)[0, 0]
    assert found.tolist() == [1, 0, 3, 0]
    voxels[0, 0, 5] = 2
    found = classes_to_grid(class_map(voxels), Grid((1, 1, 4)), 3)[0, 0]
    assert found.tolist() == [1, 0, 2, 0]


def test_a_later_class_does_not_win_by_being_later():
    voxels = np.ones((2, 2, 8), np.uint8)
    voxels[..., 6:] = 2
    voxels[0, 0, 0] = voxels[0, 1, 0] = 2  # 2 of 8
    found = classes_to_grid(class_map(voxels), Grid((1, 1, 4)), 2)[0, 0]
    assert found.tolist() == [1, 1, 1, 2]


def test_a_structure_smaller_than_a_voxel_does_not_vanish():
    voxels = np.zeros((8, 8, 8), np.uint8)
    voxels[5, 2, 6] = 2
    found = classes_to_grid(class_map(voxels), Grid((2, 2, 2)), 2)
    assert np.argwhere(found == 2).tolist() == [[1, 0, 1]]
    assert (found == 2).sum() == 1


def test_a_volume_at_a_spacing_keeps_its_extent():
    voxels = np.ones((10, 20, 30), np.uint8)
    found = classes_to_grid(class_map(voxels, (3.0, 1.0, 1.0)), Grid(None, (None, 2, 1.5)), 1)
    assert found.shape == (10, 10, 20)
    assert (found == 1).all()


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (lambda: Grid(None, None, (0.5, 1, 1)), "needs a shape"),
        (lambda: Grid(None, (None, 0, 1)), "three lengths above 0"),
    ],
)
def test_impossible_grids_are_refused(wrong, reason):
    with pytest.raises(ValueError, match=reason):
        wrong()
