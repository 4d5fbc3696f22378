"""Store a canonical array with axes that run as a data set's files do."""

from pathlib import Path

import numpy as np
from jaxtyping import Float64, Shaped

from mg3d.volumes.orientation import WORLD_AXIS, from_canonical
from mg3d.volumes.volume import write_nifti


def affine_for(
    axes: str, shape: tuple[int, int, int], affine: Float64[np.ndarray, "4 4"]
) -> Float64[np.ndarray, "4 4"]:
    """Affine of the stored array whose axes run to `axes`, such as "LPS", at the same place.

    Args:
        axes: where the first, second and third index run to.
        shape: of the canonical array.
        affine: canonical index (h, w, d) to RAS+ mm.
    """
    stored, origin = np.eye(4), affine[:3, 3].copy()
    for axis, letter in enumerate(axes):
        source = WORLD_AXIS.index(max("RAS".find(letter), "LPI".find(letter)))
        step = affine[:3, source].copy()
        if letter in "LPI":
            origin += step * (shape[source] - 1)
            step = -step
        stored[:3, axis] = step
    stored[:3, 3] = origin
    return stored


def write_stored(
    path: Path,
    canonical: Shaped[np.ndarray, "H W D"],
    affine: Float64[np.ndarray, "4 4"],
    axes: str,
) -> None:
    """Write a canonical array as NIfTI with its axes running to `axes`.

    Args:
        path: of the file.
        canonical: the array.
        affine: canonical index to RAS+ mm.
        axes: as for `affine_for`.
    """
    height, width, depth = canonical.shape
    stored = affine_for(axes, (height, width, depth), affine)
    write_nifti(path, from_canonical(canonical, stored), stored)
