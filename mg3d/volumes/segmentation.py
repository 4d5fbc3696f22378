"""A segmentation belongs to its image: one grid, one place in the patient, declared classes only.

A label on another grid scores nothing but noise, and a label that was interpolated or holds a class
nobody declared trains nothing but nonsense; so both are refused before they are used.
"""

from collections.abc import Collection

import numpy as np
from jaxtyping import Shaped

from mg3d.volumes.volume import Volume, VolumeError

APART_MM = 1.0  # image and label must agree about where they lie


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
    odd = values[values != np.rint(values)]
    if len(odd):
        raise VolumeError(
            f"{label.source}: non-integer label {odd[0]:g} ({len(odd)} such values), expected "
            "whole numbers; was it interpolated? Give the label as it was drawn"
        )
    beyond = sorted({int(value) for value in values} - set(classes))
    if beyond:
        raise VolumeError(
            f"{label.source}: label {', '.join(map(str, beyond[:5]))} outside the declared classes "
            f"{', '.join(map(str, sorted(classes)))}; declare it, or correct the label"
        )
    dtype = np.min_scalar_type(int(max(classes))) if min(classes) >= 0 else np.dtype(np.int64)
    if (label.slope, label.intercept) == (1.0, 0.0):
        return label.voxels.astype(dtype)
    return np.rint(label.voxels * label.slope + label.intercept).astype(dtype)


def check_grids(image: Volume, label: Volume) -> None:
    """Nothing, if two volumes have one shape and lie at one place.

    Raises:
        VolumeError: naming both files, if not.
    """
    if image.voxels.shape != label.voxels.shape:
        raise VolumeError(
            f"{label.source}: shape {label.stored.shape}, but its image {image.source} has "
            f"{image.stored.shape}; they must lie on one grid"
        )
    corners = np.array([[h, w, d, 1.0] for h in (0, 1) for w in (0, 1) for d in (0, 1)])
    corners[:, :3] *= np.array(image.voxels.shape) - 1
    apart = np.linalg.norm((corners @ (label.affine - image.affine).T)[:, :3], axis=1).max()
    if apart > APART_MM:
        raise VolumeError(
            f"{label.source}: lies up to {apart:.1f} mm off its image {image.source}; the geometry "
            "of image and label must agree"
        )


def _present(label: Volume) -> np.ndarray:
    """Every value of a label, slice by slice: nothing as large as the volume."""
    stored = np.unique(np.concatenate([np.unique(part) for part in label.voxels]))
    return stored.astype(np.float64) * label.slope + label.intercept
