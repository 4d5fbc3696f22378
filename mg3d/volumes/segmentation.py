"""A segmentation belongs to its image: one grid, one place in the patient, declared classes only.

A label on another grid, one that was interpolated and one with a class that was not declared are
refused before they are used. Two grids that differ by rounding (a spacing of 1.5112 for 1.51118)
are one grid, and the image says where both lie.
"""

from collections.abc import Collection

import numpy as np
from jaxtyping import Shaped

from mg3d.volumes.volume import Volume, VolumeError

APART_MM = 1.0  # at a corner of the volume; two grids further apart are two grids
APART_VOXELS = 0.5  # likewise, along an axis of the image
WHOLE = 1e-3  # a label this far off a whole number was scaled to it, not interpolated
MOST_COARSE = 0.1  # of a slope by which whole numbers are packed into few bits


def check_pair(
    image: Volume, label: Volume, classes: Collection[int]
) -> Shaped[np.ndarray, "H W D"]:
    """The label's classes as whole numbers (uint8 where they fit), canonical axes.

    Args:
        image: what was labelled.
        label: from `read_volume`; the axes of its file may run other ways than the image's.
        classes: every number that may occur, the background among them.

    Raises:
        VolumeError: if the two do not lie on one grid, or the label holds anything else.
    """
    check_grids(image, label)
    values = _present(label)
    odd = values[~(np.abs(values - np.rint(values)) <= _off_by_packing(label))]
    if len(odd):
        raise VolumeError(
            f"{label.source}: non-integer label {odd[0]:.6g} ({len(odd)} such values), expected "
            "whole numbers; was it interpolated? Give the label as it was drawn"
        )
    beyond = sorted({int(value) for value in np.rint(values)} - set(classes))
    if beyond:
        raise VolumeError(
            f"{label.source}: label {', '.join(map(str, beyond[:5]))} outside the declared classes "
            f"{', '.join(map(str, sorted(classes)))}; declare it, or correct the label"
        )
    dtype = np.min_scalar_type(int(max(classes))) if min(classes) >= 0 else np.dtype(np.int64)
    if (label.slope, label.intercept) == (1.0, 0.0) and label.voxels.dtype.kind in "iub":
        return label.voxels.astype(dtype)
    return np.rint(label.voxels * label.slope + label.intercept).astype(dtype)


def check_grids(image: Volume, label: Volume) -> None:
    """Nothing, if two volumes lie on one grid: one shape, and corners at one place.

    Up to `APART_MM` and `APART_VOXELS` is what rounded headers explain. Use the image's affine for
    both after that, or they are brought to grids of different size.

    Raises:
        VolumeError: naming both files, if not.
    """
    if image.voxels.shape != label.voxels.shape:
        raise VolumeError(
            f"{label.source}: shape {label.stored.shape}, but its image {image.source} has "
            f"{image.stored.shape}; they must lie on one grid"
        )
    apart_mm, apart_voxels = _apart(image, label)
    if apart_mm > APART_MM or apart_voxels > APART_VOXELS:
        raise VolumeError(
            f"{label.source}: lies up to {apart_mm:.1f} mm off its image {image.source} "
            f"({apart_voxels:.2g} voxels); the geometry of image and label must agree"
        )


def _apart(image: Volume, label: Volume) -> tuple[float, float]:
    """How far corners of two volumes of one shape are apart, in mm and in voxels of the image."""
    corners = np.array([[h, w, d, 1.0] for h in (0, 1) for w in (0, 1) for d in (0, 1)])
    corners[:, :3] *= np.array(image.voxels.shape) - 1
    mm = corners @ (label.affine - image.affine).T
    voxels = mm @ np.linalg.inv(image.affine).T
    return float(np.linalg.norm(mm, axis=1).max()), float(np.abs(voxels).max())


def _off_by_packing(label: Volume) -> float:
    """How far off a whole number a label may be because of how its file packs numbers.

    nibabel packs 0, 1 and 2 into 8 bits as 0, 128 and 255 times 0.00784: a step is lost at most by
    half. Where a step is a tenth or less, values between whole numbers would still show.
    """
    step = abs(label.slope) if label.voxels.dtype.kind in "iu" else 0.0
    return max(WHOLE, 0.51 * step) if step <= MOST_COARSE else WHOLE


def _present(label: Volume) -> np.ndarray:
    """Every value of a label, slice by slice: nothing as large as the volume."""
    stored = np.unique(np.concatenate([np.unique(part) for part in label.voxels]))
    return stored.astype(np.float64) * label.slope + label.intercept
