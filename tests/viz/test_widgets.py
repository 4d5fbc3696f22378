import numpy as np
import pytest
import torch

from mg3d.viz.widgets import browse_slices


@pytest.mark.parametrize("overlay", [None, torch.rand(2, 2, 2)])
def test_moving_a_slider_redraws_the_picture(overlay):
    voxels = np.random.default_rng(0).random((4, 6, 8)).astype(np.float32)
    widget = browse_slices(voxels, (2.0, 2.0, 2.0), overlay, unit_hu=(-1000, 1000))
    sliders, windows, picture = widget.children
    before = bytes(picture.value)
    assert before.startswith(b"\x89PNG")
    assert [(s.min, s.max, s.value) for s in sliders.children] == [(0, 3, 2), (0, 5, 3), (0, 7, 4)]

    sliders.children[0].value = 0
    moved = bytes(picture.value)
    windows.value = "bone"
    assert len({before, moved, bytes(picture.value)}) == 3


def test_what_is_shown_over_the_volume_is_named_above_it():
    voxels = np.zeros((4, 6, 8), dtype=np.float32)
    named, other = (
        bytes(
            browse_slices(
                voxels, (2.0, 2.0, 2.0), torch.ones(2, 2, 2) * torch.arange(2),
                unit_hu=(-1000, 1000), shown=shown,
            ).children[2].value
        )
        for shown in ("change", "own report")
    )  # fmt: skip
    assert named != other
