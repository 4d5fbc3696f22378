"""Signed maps leave the volume visible where they are 0, and mark where they are highest."""

import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgba

from mg3d.viz.heat import show_heat
from mg3d.viz.style import AMBER

SPACING = (4.0, 2.0, 1.0)
UNIT = {"unit_hu": (-1000, 1000)}


@pytest.fixture
def voxels():
    return torch.rand(8, 6, 10, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def mask(voxels):
    mask = torch.zeros(voxels.shape, dtype=torch.bool)
    mask[5, 1:3, 7:9] = True
    return mask


def heat_at(shape, *place, value=2.0):
    heat = torch.zeros(shape)
    heat[place] = value
    return heat


def test_zero_is_transparent_and_the_sign_is_a_colour(voxels, mask):
    heat = heat_at(voxels.shape, 5, 1, 8) + heat_at(voxels.shape, 5, 4, 3, value=-2.0)
    fig = show_heat(voxels, {"map": heat}, SPACING, mask=mask, **UNIT)
    volume, shown, colors = (image for axes in fig.axes[:2] for image in axes.images)
    assert volume.get_array().shape == shown.get_array().shape == (6, 10)
    rgba = np.asarray(colors.get_array())[::-1, ::-1]  # by index w, d
    assert np.count_nonzero(rgba[..., 3]) == 2
    assert rgba[1, 8, 0] > rgba[1, 8, 2] and rgba[4, 3, 2] > rgba[4, 3, 0]  # red for, blue against


def test_the_highest_voxel_is_marked_filled_if_inside(voxels, mask):
    maps = {
        "inside": heat_at(voxels.shape, 5, 2, 7),
        "outside": heat_at(voxels.shape, 0, 0, 0),  # of another slice
    }
    fig = show_heat(voxels, maps, SPACING, mask=mask, **UNIT)
    inside, outside = (axes.lines[-1] for axes in fig.axes[1:3])
    # The patient's right, the highest d, is on the left of the picture.
    assert (inside.get_xdata()[0], inside.get_ydata()[0]) == (2.5, 5.0)
    assert (outside.get_xdata()[0], outside.get_ydata()[0]) == (9.5, 1.0)
    assert to_rgba(inside.get_markerfacecolor()) == to_rgba(AMBER)
    assert outside.get_markerfacecolor() == "none"
    assert not fig.axes[0].lines  # the volume has no map


def test_coarse_maps_are_enlarged_and_all_is_said(voxels, mask, words_of):
    fig = show_heat(
        voxels,
        {"own": torch.ones(2, 2, 2)},
        SPACING,
        mask=mask,
        title="Where",
        note="made up",
        **UNIT,
    )
    assert np.asarray(fig.axes[1].images[1].get_array()).shape == (6, 10, 4)
    words = words_of(fig)
    for part in ("Where", "made up", "own", "volume", "axial 5 of 8", "for", "against", "diamond"):
        assert part in words


def test_no_map_is_refused(voxels):
    with pytest.raises(ValueError, match="maps is empty"):
        show_heat(voxels, {}, SPACING, **UNIT)
