"""Row 29: masks lie on the grid of their volume, though their headers round one spacing apart."""

import numpy as np
import pytest

from mg3d.data.masks import MaskMeaning
from mg3d.data.prepared import read_array
from mg3d.preparation.prepare import PrepareSettings, ScanRecord
from mg3d.preparation.prepare_volume import prepare_volume
from mg3d.volumes.grid import Grid
from mg3d.volumes.volume import write_nifti

SETTINGS = PrepareSettings(grid=Grid(None, (1.5, 1.5, 1.5)))
MEAN = {"classes": MaskMeaning("classes", ("cancer",)), "bits": MaskMeaning("bits", ("nodule",))}


def affine_of(spacing):
    return np.diag([-spacing[0], -spacing[1], spacing[2], 1.0])


def run(tmp_path, shape, spacing, mask_spacing, kind, settings=SETTINGS):
    """Prepare a pair; the volume and the masks."""
    hu = np.full(shape, -1000, np.int16)
    hu[2:-2, 2:-2, 5:-5] = 40
    masks = np.zeros(shape, np.int32 if kind == "bits" else np.uint8)
    masks[2:-2, 2:-2, 5:-5] = 1
    write_nifti(tmp_path / "ct.nii", hu, affine_of(spacing))
    write_nifti(tmp_path / "seg.nii", masks, affine_of(mask_spacing))
    ids = dict.fromkeys(("volume_id", "patient_id", "scan_id"), "v")
    record = ScanRecord(
        **ids, split="train", volume=tmp_path / "ct.nii", masks=tmp_path / "seg.nii"
    )
    outcome = prepare_volume(
        record, output=tmp_path, settings=settings, masks_mean=MEAN[kind], root=tmp_path
    )
    assert not outcome.reason
    return tuple(
        read_array(tmp_path / f"{folder}/train/v.safetensors", name)
        for folder, name in (("volumes", "volume"), ("masks", "masks"))
    )


@pytest.mark.parametrize("kind", MEAN)
def test_row_29_a_label_with_a_rounded_spacing_gets_the_grid_of_its_image(kind, tmp_path):
    volume, masks = run(tmp_path, (32, 27, 67), (2, 2, 1.51118), (2, 2, 1.51122), kind)
    assert volume.shape == masks.shape == (67, 36, 43)
    volume, masks = run(tmp_path, (32, 27, 67), (2, 2, 1.51122), (2, 2, 1.51118), kind)
    assert volume.shape == masks.shape == (68, 36, 43)
    agree = ((masks > 0) == (volume > 60)).mean()  # -530 HU: half way to tissue
    assert agree > (0.97 if kind == "classes" else 0.9)  # a bit is set from a quarter on


@pytest.mark.parametrize("kind", MEAN)
def test_row_29_shapes_are_equal_for_any_rounding(kind, tmp_path):
    chance, different = np.random.default_rng(29), 0
    for _ in range(20):
        shape = tuple(int(n) for n in chance.integers(12, 40, 3))
        half = [(round(n / 1.5) + 0.5) * 1.5 / n for n in shape]  # half a voxel too many
        spacing = np.array(half) + chance.uniform(-2e-5, 2e-5, 3)
        rounded = spacing.round(int(chance.integers(3, 6)))
        volume, masks = run(tmp_path, shape, spacing, rounded, kind)
        assert volume.shape == masks.shape
        sizes = [
            [round(n * step / 1.5) for n, step in zip(shape, steps, strict=True)]
            for steps in (spacing, rounded)
        ]
        different += sizes[0] != sizes[1]
    assert different > 5  # the case was among them


def test_row_29_a_label_on_another_grid_is_still_refused(tmp_path):
    with pytest.raises(AssertionError):
        run(tmp_path, (20, 20, 20), (1.0, 1.0, 1.0), (1.0, 1.0, 1.2), "classes")
