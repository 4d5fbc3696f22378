"""One order of axes for every volume, whatever the file's, and the exact way back.

A canonical array is `voxels[h, w, d]`: h runs from inferior to superior, w from posterior to
anterior, d from the patient's left to right. World coordinates are RAS+ millimetres: x right,
y anterior, z superior. An oblique array is not resampled: each axis goes to the closest body axis.
"""

import numpy as np
from jaxtyping import Float64, Shaped

WORLD_AXIS = (2, 1, 0)  # of the canonical axes h, w, d: z, y, x


def axes_of(affine: Float64[np.ndarray, "4 4"]) -> str:
    """Where the stored axes run to, such as "LPS": left, posterior, superior."""
    return "".join("RAS"[a] if s > 0 else "LPI"[a] for a, s in _orientation(affine))


def to_canonical(
    stored: Shaped[np.ndarray, "a b c"], affine: Float64[np.ndarray, "4 4"]
) -> tuple[Shaped[np.ndarray, "H W D"], Float64[np.ndarray, "4 4"]]:
    """A view of the stored array with canonical axes, and the affine of that view."""
    orientation = _orientation(affine)
    order = _order(orientation)
    view = stored.transpose(order)
    index = np.zeros((4, 4))  # canonical index to stored index
    index[3, 3] = 1
    for axis, source in enumerate(order):
        if orientation[source][1] < 0:
            view = np.flip(view, axis)
            index[source, axis] = -1
            index[source, 3] = stored.shape[source] - 1
        else:
            index[source, axis] = 1
    return view, affine @ index


def from_canonical(
    canonical: Shaped[np.ndarray, "H W D"], affine: Float64[np.ndarray, "4 4"]
) -> Shaped[np.ndarray, "a b c"]:
    """The way back: a view with the axes of the file whose (stored) affine this is."""
    orientation = _orientation(affine)
    order = _order(orientation)
    flipped = [axis for axis, source in enumerate(order) if orientation[source][1] < 0]
    return np.flip(canonical, tuple(flipped)).transpose(np.argsort(order))


def _orientation(affine: np.ndarray) -> list[tuple[int, int]]:
    """World axis and direction (+1, -1) of each stored axis."""
    from nibabel.orientations import io_orientation

    return [(int(axis), int(sign)) for axis, sign in io_orientation(affine)]


def _order(orientation: list[tuple[int, int]]) -> list[int]:
    """Which stored axis each canonical axis is."""
    found = [axis for axis, _ in orientation]
    return [found.index(world) for world in WORLD_AXIS]
