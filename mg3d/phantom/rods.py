"""Many thin rods at once: how the branches of a tree get onto a canvas.

A rod that is thick enough for its voxels is drawn exactly. A thinner one is spread as material: its
volume is shared out among the voxels around points along it, so that on a coarse grid a vessel dims
instead of vanishing, whatever its place.
"""

from collections.abc import Iterator

import numpy as np

from mg3d.phantom.canvas import EVERYWHERE, Canvas, Part, tube
from mg3d.phantom.trees import Tree

THIN = 0.6  # of a voxel's edge: thinner radii are spread
VANISHING = 0.1  # likewise: thinner ones are left out


def rods(
    canvas: Canvas, tree: Tree, more_mm: float = 0.0, *, thin_ones: bool = True
) -> Iterator[Part]:
    """The branches in sight, thin ones as one part for all.

    Args:
        canvas: where to draw.
        tree: the branches.
        more_mm: added to every radius.
        thin_ones: draw those that are thin for this canvas's voxels, too.
    """
    if not len(tree.radius):
        return
    radius = tree.radius + more_mm
    # (n, 3) voxels of the whole scan, so that rounding is the same however it is cut in slabs;
    # scanner mm are x y z, the array's axes z y x.
    start = (tree.scanner[:, 2::-1] - canvas.grid_mm) / canvas.spacing_mm
    end = (tree.scanner[:, :2:-1] - canvas.grid_mm) / canvas.spacing_mm
    lowest = np.array([canvas.first_slice, 0, 0])
    margin = radius[:, None] / np.array(canvas.spacing_mm) + 2.0
    low, high = np.minimum(start, end) - margin, np.maximum(start, end) + margin
    size = lowest + canvas.hu.shape
    seen = ((high > lowest) & (low < size - 1)).all(axis=1) & (radius > VANISHING * canvas.edge_mm)
    thin = radius < THIN * canvas.edge_mm
    if thin_ones and (seen & thin).any():
        which = seen & thin
        yield EVERYWHERE, _spread(canvas, start[which], end[which], radius[which])
    for k in np.flatnonzero(seen & ~thin).tolist():
        r = float(radius[k])
        part = tube(canvas, tuple(tree.start[k].tolist()), tuple(tree.end[k].tolist()), r, 0.88 * r)
        if part is not None:
            yield part


def _spread(canvas: Canvas, start: np.ndarray, end: np.ndarray, radius: np.ndarray) -> np.ndarray:
    """Share of each voxel that thin rods fill; `start` and `end` in voxels."""
    spacing = np.array(canvas.spacing_mm)
    length = np.sqrt((((end - start) * spacing) ** 2).sum(axis=1))
    count = np.maximum(1, np.ceil(length / spacing.min())).astype(int)
    owner = np.repeat(np.arange(len(count)), count)
    first = np.cumsum(count) - count
    share = (np.arange(len(owner)) - first[owner] + 0.5) / count[owner]
    place = start[owner] + (end - start)[owner] * share[:, None]
    amount = (np.pi * radius**2 * length / count / spacing.prod())[owner]
    corner = np.floor(place).astype(int)
    rest = place - corner
    corner[:, 0] -= canvas.first_slice
    h, w, d = canvas.hu.shape
    # A margin of one voxel on each side takes what lies outside.
    inside = ((corner >= -1) & (corner < (h, w, d))).all(axis=1)
    corner, rest, amount = corner[inside] + 1, rest[inside], amount[inside]
    wide, deep = w + 2, d + 2
    flat = (corner[:, 0] * wide + corner[:, 1]) * deep + corner[:, 2]
    z, y, x = rest.T
    slots, parts = [], []
    for dz, a in ((0, (1 - z) * amount), (1, z * amount)):
        for dy, b in ((0, (1 - y) * a), (1, y * a)):
            for dx, c in ((0, (1 - x) * b), (1, x * b)):
                slots.append(flat + ((dz * wide + dy) * deep + dx))
                parts.append(c)
    total = np.bincount(
        np.concatenate(slots), np.concatenate(parts), minlength=(h + 2) * wide * deep
    ).reshape(h + 2, wide, deep)[1:-1, 1:-1, 1:-1]
    return np.minimum(total, 1).astype(np.float32)
