from pathlib import Path

import numpy as np
import pytest

from mg3d.volumes.grid import Grid, hu_to_unit, to_grid
from mg3d.volumes.intensity import EightBit, Percentiles, ProvedHU
from mg3d.volumes.volume import StoredGrid, Volume, VolumeError

WINDOW = (-1000.0, 1000.0)


def volume(voxels, slope=1.0, intercept=0.0):
    grid = StoredGrid(voxels.shape, np.eye(4))
    return Volume(voxels, np.eye(4), grid, Path("a.nii"), slope, intercept)


def unit_on_grid(scaled):
    return hu_to_unit(to_grid(scaled.volume, Grid(None)).voxels, scaled.window)


BYTES = np.array([0, 51, 255] * 9, np.uint8).reshape(3, 3, 3)


def test_eight_bits_of_unknown_meaning_become_0_to_1_and_no_hu():
    scaled = EightBit().scale(volume(BYTES), hu_window=(-100.0, 300.0))
    np.testing.assert_allclose(unit_on_grid(scaled)[0, 0], [0, 0.2, 1], atol=1e-6)
    assert scaled.facts["to"] == "0 to 1"
    assert scaled.facts["slope"] == pytest.approx(1 / 255)
    assert "no HU" in scaled.facts["reason"]
    assert not EightBit().is_hu


def test_eight_bits_of_a_stated_window_become_hu():
    scaled = EightBit(-1000, 600).scale(volume(BYTES), hu_window=WINDOW)
    np.testing.assert_allclose(scaled.volume.values()[0, 0], [-1000, -680, 600], atol=1e-3)
    assert scaled.facts["to"] == "HU"
    assert scaled.window == WINDOW
    assert EightBit(-1000, 600).is_hu


@pytest.mark.parametrize(
    "voxels",
    [
        np.array([-1000, 0, 400]).reshape(1, 1, 3),
        np.array([0, 128, 256]).reshape(1, 1, 3),
        np.array([0.0, 0.5, 1.0]).reshape(1, 1, 3),
    ],
)
def test_what_is_no_8_bit_picture_is_refused(voxels):
    with pytest.raises(VolumeError, match="expected 8-bit values, 0 to 255, got"):
        EightBit().scale(volume(voxels), hu_window=WINDOW)


@pytest.mark.parametrize(("scale", "offset"), [(1, 0), (0.013, 5), (40, -200)])
def test_the_scale_of_an_mr_scanner_does_not_matter(scale, offset):
    voxels = np.arange(1000, dtype=np.float64).reshape(10, 10, 10)
    plain = Percentiles(1, 99).scale(volume(voxels), hu_window=WINDOW)
    other = Percentiles(1, 99).scale(volume(voxels, scale, offset), hu_window=WINDOW)
    np.testing.assert_allclose(unit_on_grid(other), unit_on_grid(plain), atol=1e-5)
    unit = unit_on_grid(plain)
    low, high = np.percentile(voxels, (1, 99))
    np.testing.assert_allclose(unit, np.clip((voxels - low) / (high - low), 0, 1), atol=1e-5)
    assert plain.facts["to"] == "0 to 1"


def test_outside_an_mr_image_is_0():
    voxels = np.linspace(300, 900, 27).reshape(3, 3, 3)
    scaled = Percentiles().scale(volume(voxels), hu_window=(-175.0, 250.0))
    padded = hu_to_unit(to_grid(scaled.volume, Grid((9, 9, 9), (1, 1, 1))).voxels, scaled.window)
    assert padded[0, 0, 0] == 0
    assert padded.max() == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("rule", [EightBit(), Percentiles(), ProvedHU()])
def test_a_constant_volume_is_refused(rule):
    with pytest.raises(VolumeError, match="constant volume"):
        rule.scale(volume(np.full((3, 3, 3), 7)), hu_window=WINDOW)


def test_an_image_that_is_nearly_all_background_is_refused():
    voxels = np.zeros((10, 10, 10))
    voxels[0, 0, 0] = 1
    with pytest.raises(VolumeError, match=r"percentiles 0\.5 and 99\.5 are both 0"):
        Percentiles().scale(volume(voxels), hu_window=WINDOW)


@pytest.mark.parametrize(
    "wrong",
    [lambda: EightBit(0), lambda: EightBit(5, 5), lambda: Percentiles(99, 1)],
)
def test_impossible_rules_are_refused(wrong):
    with pytest.raises(ValueError, match=r"got|must be below"):
        wrong()
