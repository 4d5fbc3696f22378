from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from mg3d.config import PRESETS
from mg3d.volumes import grid as grid_module
from mg3d.volumes.grid import (
    Grid,
    hu_to_unit,
    masks_to_grid,
    pack_voxels,
    quantise,
    to_grid,
    unit_to_hu,
)
from mg3d.volumes.volume import StoredGrid, Volume, to_original

TINY = Grid((48, 32, 48), (7.5, 7.5, 7.5))


def scan(voxels, spacing_mm=(1.0, 1.0, 1.0), origin=(5.0, -7.0, 11.0), **fields):
    affine = np.zeros((4, 4))
    affine[[2, 1, 0], [0, 1, 2]] = spacing_mm
    affine[:3, 3], affine[3, 3] = origin, 1
    stored = StoredGrid(voxels.shape[::-1], affine[:, [2, 1, 0, 3]])
    return Volume(voxels, affine, stored, Path("p017.nii.gz"), **fields)


def random_hu(shape, seed=0):
    return np.random.default_rng(seed).uniform(-1000, 1000, shape).astype(np.float32)


def along_one_axis(values, start, step, size):
    """One axis by the definition: a triangle as wide as the coarser grid, air outside the scan."""
    result = []
    for i in range(size):
        centre = start + (i + 0.5) * step
        total = weighed = 0.0
        for j, value in enumerate(values):
            weight = max(0.0, 1 - abs(j + 0.5 - centre) / max(1.0, step))
            total += weight
            weighed += weight * (value + 1000)
        low, high = max(0.0, centre - step / 2), min(len(values), centre + step / 2)
        inside = max(0.0, high - low) / step
        result.append(weighed / total * inside - 1000 if inside > 0 else -1000.0)
    return np.array(result)


@pytest.mark.parametrize(
    ("old", "spacing", "size", "new"),
    [(9, 1.0, 4, 2.5), (9, 1.0, 7, 2.5), (5, 3.0, 11, 1.0), (6, 1.0, 6, 1.0), (7, 1.3, 3, 9.0)],
)
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_equals_the_definition_written_as_loops(old, spacing, size, new, axis):
    shape, target, spacings, wanted = [2, 2, 2], [2, 2, 2], [1.0, 1.0, 1.0], [1.0, 1.0, 1.0]
    shape[axis], target[axis], spacings[axis], wanted[axis] = old, size, spacing, new
    voxels = random_hu(shape)
    result = to_grid(scan(voxels, tuple(spacings)), Grid(tuple(target), tuple(wanted))).voxels
    step = new / spacing
    expected = np.apply_along_axis(
        along_one_axis, axis, voxels, (old - size * step) / 2, step, size
    )
    np.testing.assert_allclose(result, expected, atol=1e-3)


def test_upsampling_equals_torchs_trilinear():
    voxels = random_hu((6, 7, 8))
    result = to_grid(scan(voxels), Grid((12, 11, 20))).voxels
    expected = F.interpolate(torch.from_numpy(voxels)[None, None], (12, 11, 20), mode="trilinear")
    np.testing.assert_allclose(result, expected[0, 0].numpy(), atol=1e-3)


def test_downsampling_equals_torchs_antialiased_interpolation():
    voxels = random_hu((30, 40, 50))
    result = to_grid(scan(voxels), Grid((30, 9, 13))).voxels
    expected = F.interpolate(
        torch.from_numpy(voxels)[None], (9, 13), mode="bilinear", antialias=True
    )
    np.testing.assert_allclose(result, expected[0].numpy(), atol=1e-2)


def test_a_central_crop_is_cut_before_it_is_stretched():
    voxels = random_hu((8, 8, 8))
    cropped = to_grid(scan(voxels), Grid((4, 4, 4), crop=(0.5, 0.5, 0.5)))
    np.testing.assert_allclose(cropped.voxels, voxels[2:6, 2:6, 2:6], atol=1e-3)
    np.testing.assert_allclose(cropped.affine[:3, 3], np.array([5, -7, 11]) + 2)


def test_an_equal_grid_copies_the_voxels():
    voxels = random_hu((5, 6, 7))
    result = to_grid(scan(voxels, (2.0, 0.7, 0.8)), Grid((5, 6, 7), (2.0, 0.7, 0.8)))
    np.testing.assert_array_equal(result.voxels, voxels + np.float32(1000) - np.float32(1000))
    np.testing.assert_allclose(result.affine, scan(voxels, (2.0, 0.7, 0.8)).affine)


@pytest.mark.parametrize("spacing", [None, (0.6, 2.5, 1.0)])
def test_a_constant_stays_constant(spacing):
    voxels = np.full((20, 30, 25), 37, np.int16)
    shape = (12, 14, 16) if spacing is None else (20, 10, 20)
    np.testing.assert_allclose(to_grid(scan(voxels), Grid(shape, spacing)).voxels, 37, atol=1e-3)


def test_outside_the_scan_is_air():
    result = to_grid(scan(np.full((4, 4, 4), 50, np.int16)), Grid((8, 4, 4), (1.0, 1.0, 1.0)))
    assert (result.voxels[[0, 1, 6, 7]] == -1000).all()
    np.testing.assert_allclose(result.voxels[2:6], 50, atol=1e-3)


def test_the_centres_of_scan_and_grid_coincide():
    volume = scan(random_hu((31, 20, 44)), (1.25, 0.9, 0.7))
    for grid in (TINY, Grid((128, 96, 128), crop=(0.88, 0.65625, 0.875))):
        middle = (np.array(grid.shape) - 1) / 2
        centre = (to_grid(volume, grid).affine @ [*middle, 1])[:3]
        expected = volume.affine @ [*((np.array(volume.voxels.shape) - 1) / 2), 1]
        np.testing.assert_allclose(centre, expected[:3], atol=1e-6)


@pytest.mark.parametrize("grid", [TINY, Grid((40, 24, 32), crop=(0.9, 0.8, 0.85))])
def test_a_landmark_keeps_its_place_in_millimetres(grid):
    voxels = np.full((90, 110, 120), -1000, np.int16)
    voxels[48:57, 60:69, 30:39] = 1000  # a cube of 9 voxels
    volume = scan(voxels, (2.5, 1.5, 1.5))
    result = to_grid(volume, grid)
    weight = result.voxels + 1000
    where = np.array([(weight * index).sum() for index in np.indices(weight.shape)]) / weight.sum()
    expected = (volume.affine @ [52, 64, 34, 1])[:3]
    np.testing.assert_allclose((result.affine @ [*where, 1])[:3], expected, atol=0.05)


def test_a_marked_voxel_finds_its_way_to_the_model_and_back():
    voxels = np.full((60, 70, 80), -1000, np.int16)
    voxels[20:26, 40:46, 10:16] = 1000
    volume = scan(voxels, (2.0, 2.0, 2.0))
    result = to_grid(volume, Grid((40, 40, 50), (4.0, 4.0, 4.0)))
    back = to_original(result.voxels, result.affine, volume.stored, fill=-1000)
    assert back.shape == volume.stored.shape
    np.testing.assert_allclose(np.argwhere(back > 500).mean(0), [12.5, 42.5, 22.5], atol=0.5)


def test_values_become_hu_before_they_are_mixed():
    hu = np.round(random_hu((9, 9, 9)))
    stored = scan((hu + 1024).astype(np.uint16), slope=1.0, intercept=-1024.0)
    expected = to_grid(scan(hu.astype(np.int16)), TINY)
    np.testing.assert_array_equal(to_grid(stored, TINY).voxels, expected.voxels)
    halved = scan((hu * 2).astype(np.int16), slope=0.5)
    np.testing.assert_array_equal(to_grid(halved, TINY).voxels, expected.voxels)


def test_padding_and_metal_do_not_bleed():
    voxels = np.full((4, 4, 4), 0, np.int16)
    voxels[0, 0, 0], voxels[3, 3, 3] = -3024, 30000
    result = to_grid(scan(voxels), Grid((2, 2, 2))).voxels
    gentle = voxels.clip(-1024, 3071)
    np.testing.assert_allclose(result, to_grid(scan(gentle), Grid((2, 2, 2))).voxels)


def test_slabs_do_not_show(monkeypatch):
    volume = scan(random_hu((40, 30, 30)), (2.0, 2.0, 2.0))
    whole = to_grid(volume, TINY).voxels
    monkeypatch.setattr(grid_module, "SLAB_BYTES", 1)
    np.testing.assert_allclose(to_grid(volume, TINY).voxels, whole, atol=1e-3)


def test_flipped_and_permuted_views_give_the_same_bytes():
    voxels = random_hu((20, 24, 28))
    odd = np.asfortranarray(voxels[::-1])[::-1]
    assert (to_grid(scan(voxels), TINY).voxels == to_grid(scan(odd), TINY).voxels).all()


def test_a_scan_that_the_grid_misses_is_all_air():
    volume = scan(random_hu((4, 4, 4)), (0.1, 0.1, 0.1))
    assert (to_grid(volume, Grid((2, 2, 2), (100.0, 100.0, 100.0))).voxels < -999).all()


def test_masks_on_an_equal_grid_are_copied():
    bits = np.random.default_rng(0).integers(0, 1 << 18, (6, 7, 8)).astype(np.int32)
    masks = masks_to_grid(scan(bits), Grid((6, 7, 8), (1.0, 1.0, 1.0)), 18)
    assert masks.dtype == np.int32
    np.testing.assert_array_equal(masks, bits)


def test_a_mask_is_where_the_finding_fills_the_stated_share():
    bits = np.zeros((8, 8, 8), np.int32)
    bits[:, :, :4] = 1 << 3
    masks = masks_to_grid(scan(bits), Grid((4, 4, 4), (2.0, 2.0, 2.0)), 18, share=0.5)
    expected = np.zeros((4, 4, 4), np.int32)
    expected[:, :, :2] = 8
    np.testing.assert_array_equal(masks, expected)


def test_a_small_finding_does_not_vanish_and_hides_no_other():
    bits = np.zeros((40, 40, 40), np.int32)
    bits[9, 9, 9] = 1 << 9  # one voxel of 1000 in a new one
    bits[20:30, 20:30, 20:30] |= 1
    masks = masks_to_grid(scan(bits), Grid((4, 4, 4), (10.0, 10.0, 10.0)), 18)
    assert np.argwhere(masks & 1 << 9).tolist() == [[0, 0, 0]]
    assert (masks[2, 2, 2] & 1) == 1


def test_a_finding_outside_the_grid_marks_nothing():
    bits = np.zeros((8, 4, 4), np.int32)
    bits[0] = 1
    assert masks_to_grid(scan(bits), Grid((2, 4, 4), (1.0, 1.0, 1.0)), 18).max() == 0


def test_window_and_way_back_by_hand():
    hu = np.array([-2000.0, -1000.0, 0.0, 500.0, 1000.0, 3000.0])
    unit = hu_to_unit(hu, (-1000.0, 1000.0))
    assert unit.tolist() == [0, 0, 0.5, 0.75, 1, 1]
    assert quantise(unit).tolist() == [0, 0, 128, 191, 255, 255]
    assert unit_to_hu(unit, (-1000.0, 1000.0)).tolist() == [-1000, -1000, 0, 500, 1000, 1000]


@pytest.mark.parametrize("dtype", ["uint8", "float16"])
def test_packing_slab_by_slab_is_window_and_number_type_at_once(dtype, monkeypatch):
    monkeypatch.setattr(grid_module, "SLAB_BYTES", 1000)
    hu, window = random_hu((9, 8, 7)) * 3, (-1000.0, 500.0)
    unit = np.clip((hu + 1000) / 1500, 0, 1)
    expected = np.rint(unit * 255) if dtype == "uint8" else unit.astype(np.float16)
    packed = pack_voxels(hu, window, dtype)
    assert packed.dtype == dtype
    np.testing.assert_array_equal(packed, expected)
    assert len(np.unique(packed)) > 100


def test_blocks_do_not_show(monkeypatch):
    volume = scan(random_hu((40, 30, 30)), (2.0, 2.0, 2.0))
    for grid in (TINY, Grid((37, 41, 29), crop=(0.9, 0.8, 0.7)), Grid((9, 9, 9), (0.7, 30.0, 2.0))):
        monkeypatch.setattr(grid_module, "BLOCK", 1000)
        whole = to_grid(volume, grid).voxels
        for block in (1, 5, 16):
            monkeypatch.setattr(grid_module, "BLOCK", block)
            np.testing.assert_allclose(to_grid(volume, grid).voxels, whole, atol=1e-3)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: Grid((4, 0, 4)), "three axes"),
        (lambda: Grid((4, 4, 4), (1.0, 0.0, 1.0)), "lengths above 0"),
        (lambda: Grid((4, 4, 4), (1.0, float("nan"), 1.0)), "lengths above 0"),
        (lambda: Grid((4, 4, 4), (1.0, 1.0, 1.0), (0.5, 1, 1)), "exclude each other"),
        (lambda: Grid((4, 4, 4), crop=(0.5, 1.5, 1)), "three shares"),
    ],
)
def test_an_impossible_grid_is_refused(make, reason):
    with pytest.raises(ValueError, match=reason):
        make()


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_has_a_grid(name):
    preset = PRESETS[name]
    grid = Grid(preset.grid.volume_shape, preset.grid.spacing_mm, preset.grid.crop)
    assert to_grid(scan(random_hu((8, 8, 8))), grid).voxels.shape == preset.grid.volume_shape
