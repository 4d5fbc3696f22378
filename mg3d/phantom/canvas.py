"""Where a phantom is painted: some slices of a scan, with the place in the body of every voxel.

Structures are formulas in millimetres of an average body, so a grid only changes how finely they
are sampled. A shape gives its cover, the share of each voxel it fills: its edge is as wide as a
voxel, and what is smaller than a voxel dims instead of vanishing. A shape is evaluated inside its
box only.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, TypeVar

import numpy as np
from jaxtyping import Float32, UInt32

Point = tuple[float, float, float]  # x right, y anterior, z superior; mm from the body's centre
Box = tuple[slice, slice, slice]
Part = tuple[Box, np.ndarray]  # where, and the share of each voxel covered

EVERYWHERE: Box = (slice(None), slice(None), slice(None))
WIDENED_ABOVE_MM = 3.5
Width = TypeVar("Width", float, np.ndarray)  # mm


@dataclass(frozen=True)
class Pose:
    """How one body lies in the scanner: turned, shifted, scaled and a little out of shape.

    Attributes:
        matrix: (3, 3), rows x y z: scanner mm to average-body mm.
        shift: average-body mm added after that.
        warp_mm: height of the smooth waves that bend the body.
        phases: (3, 4) of those waves.
    """

    matrix: np.ndarray
    shift: np.ndarray
    warp_mm: float
    phases: np.ndarray

    def body(self, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Body mm (3 h w d) of an open grid of scanner mm, and z per slice for outlines."""
        place = np.empty((3, z.size, y.size, x.size), np.float32)
        waves = np.float32(2 * math.pi / 260.0)
        for axis in range(3):
            a, b, c = (np.float32(v) for v in self.matrix[axis])
            p = self.phases[axis].astype(np.float32)
            w = np.float32(self.warp_mm / 2)
            flat = w * np.sin(waves * z + p[0]) * np.sin(waves * y + p[1])  # (H, W, 1)
            tall = w * np.sin(waves * z + p[2]) * np.sin(waves * x + p[3])  # (H, 1, D)
            along_z = c * z + np.float32(self.shift[axis])
            np.add(flat + b * y + along_z, tall + a * x, out=place[axis])
        level = np.float32(self.matrix[2, 2]) * z + np.float32(self.shift[2])
        return place, level

    def scanner(self, points: np.ndarray) -> np.ndarray:
        """Scanner mm (n, 3) of body points (n, 3): `body` backwards, the warp by repetition."""
        inverse = np.linalg.inv(self.matrix)
        waves, w = 2 * math.pi / 260.0, self.warp_mm / 2
        moved = np.asarray(points, float) - self.shift
        warp = np.zeros_like(moved)
        place = moved
        for _ in range(2):
            offset = moved - warp
            columns = [offset[:, k : k + 1] * inverse[:, k] for k in range(3)]
            place = columns[0] + columns[1] + columns[2]
            x, y, z = (waves * place[:, k, None] for k in range(3))
            p = self.phases
            flat = np.sin(z + p[:, 0]) * np.sin(y + p[:, 1])
            warp = w * (flat + np.sin(z + p[:, 2]) * np.sin(x + p[:, 3]))
        return place


@dataclass
class LungField:
    """One lung of a canvas.

    Attributes:
        box: where it is.
        depth: mm below its surface, negative outside; shape of the box.
        cover: share of each voxel that is lung.
    """

    box: Box
    depth: Float32[np.ndarray, "h w d"]
    cover: Float32[np.ndarray, "h w d"]


@dataclass
class Canvas:
    """Consecutive slices of one scan, being painted.

    Attributes:
        place: body mm of every voxel: x towards the patient's right, y anterior, z superior.
        level: z per slice, for outlines that change slowly.
        hu: Hounsfield units so far.
        masks: bit k set where finding k of `CT_RATE_FINDINGS` is.
        pose: how the body lies.
        spacing_mm: of the array's axes (z, y, x).
        first_mm: scanner mm (z, y, x) of voxel (0, 0, 0).
        grid_mm: the same of the whole scan's first voxel; `first_slice` is the number of this
            canvas's first slice in that scan.
        lungs: "left" and "right", once they are painted.
        heart: the heart, likewise; `fluid`: the effusion around it.
        organs: depths of heart and sac, from when the lungs make room for them.
    """

    place: Float32[np.ndarray, "3 h w d"]
    level: Float32[np.ndarray, "h 1 1"]
    hu: Float32[np.ndarray, "h w d"]
    masks: UInt32[np.ndarray, "h w d"]
    pose: Pose
    spacing_mm: tuple[float, float, float]
    first_mm: tuple[float, float, float]
    grid_mm: tuple[float, float, float]
    first_slice: int
    lungs: dict[str, LungField] = field(default_factory=dict)
    heart: Part | None = None
    fluid: Part | None = None
    organs: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self):
        self.x, self.y, self.z = self.place
        self.edge_mm = max(0.9, math.prod(self.spacing_mm) ** (1 / 3))  # how wide an edge is
        self._inverse = np.linalg.inv(self.pose.matrix).tolist()
        self._shift = self.pose.shift.tolist()

    def box(self, centre: Point, half: Point) -> Box | None:
        """Voxels that a body box may touch, or None if it lies outside these slices."""
        offset = [c - s for c, s in zip(centre, self._shift, strict=True)]
        margin = self.pose.warp_mm + self.edge_mm
        slices = []
        for axis in range(3):
            a, b, c = self._inverse[2 - axis]  # the array's axes are z, y, x
            middle = a * offset[0] + b * offset[1] + c * offset[2] - self.first_mm[axis]
            reach = abs(a) * half[0] + abs(b) * half[1] + abs(c) * half[2] + margin
            step = self.spacing_mm[axis]
            start = max(0, math.ceil((middle - reach) / step))
            stop = min(self.hu.shape[axis], math.floor((middle + reach) / step) + 1)
            if stop <= start:
                return None
            slices.append(slice(start, stop))
        return slices[0], slices[1], slices[2]

    def cover(self, inside_mm: np.ndarray, blur_mm: float = 0.0) -> np.ndarray:
        """Share of each voxel that is inside, from the distance to the surface (inside > 0).

        The edge is as wide as a voxel, and wider by `blur_mm` where something moves.
        """
        share = inside_mm * np.float32(1 / (self.edge_mm + blur_mm))
        share += np.float32(0.5)
        np.maximum(share, np.float32(0), out=share)
        return np.minimum(share, np.float32(1), out=share)

    def paint(self, box: Box, cover: np.ndarray, hu: Any) -> None:
        """Replace what is there by `hu` (a number or one per voxel), in the share covered."""
        there = self.hu[box]
        change = hu - there
        change *= cover
        there += change

    def mark(self, box: Box, cover: np.ndarray, finding: int, least: float = 0.2) -> None:
        """Set the finding's bit where the cover is noticeable."""
        self.masks[box] |= (cover > least).astype(np.uint32) << np.uint32(finding)

    def widened(self, mm: Width) -> Width:
        """The thickness that a thin sign is drawn with: its own on voxels up to 3.5 mm, up to twice
        that on larger ones, where it would be lost in partial volume."""
        return mm * min(max(self.edge_mm / WIDENED_ABOVE_MM, 1.0), 2.0)

    def least_radius(self, radius: float) -> float:
        """The radius, or the smallest one this grid cannot miss."""
        return max(radius, 0.6 * max(self.spacing_mm))


def _column(values: Any) -> np.ndarray:
    """Three numbers that broadcast against `Canvas.place`."""
    return np.array(values, np.float32).reshape(3, 1, 1, 1)


def ellipsoid(
    canvas: Canvas, centre: Point, radii: Point, turn: np.ndarray | None = None
) -> Part | None:
    """An ellipsoid; `turn` (3, 3) has its axes as rows. None if not in sight."""
    largest = max(radii)
    box = canvas.box(centre, radii if turn is None else (largest, largest, largest))
    if box is None:
        return None
    offset = canvas.place[:, *box] - _column(centre)
    if turn is None:
        offset *= _column([1 / r for r in radii])
    else:
        rows = (turn / np.array(radii)[:, None]).astype(np.float32)
        offset = np.stack([a * offset[0] + b * offset[1] + c * offset[2] for a, b, c in rows])
    offset *= offset
    inside = np.float32(1) - np.sqrt(np.add.reduce(offset, axis=0))
    inside *= np.float32((radii[0] * radii[1] * radii[2]) ** (1 / 3))
    return box, canvas.cover(inside)


def tube(
    canvas: Canvas, start: Point, end: Point, radius: float, end_radius: float | None = None
) -> Part | None:
    """A rod with round ends, tapering to `end_radius` if that is given; None if not in sight."""
    largest = radius if end_radius is None else max(radius, end_radius)
    (ax, ay, az), (bx, by, bz) = start, end
    half = (abs(ax - bx) / 2 + largest, abs(ay - by) / 2 + largest, abs(az - bz) / 2 + largest)
    box = canvas.box(((ax + bx) / 2, (ay + by) / 2, (az + bz) / 2), half)
    if box is None:
        return None
    length2 = (bx - ax) ** 2 + (by - ay) ** 2 + (bz - az) ** 2
    along = _column((bx - ax, by - ay, bz - az))
    offset = canvas.place[:, *box] - _column(start)
    share = np.add.reduce(offset * along, axis=0)
    share *= np.float32(1 / max(length2, 1e-6))
    np.maximum(share, np.float32(0), out=share)
    np.minimum(share, np.float32(1), out=share)
    offset -= along * share
    offset *= offset
    inside = np.float32(radius) - np.sqrt(np.add.reduce(offset, axis=0))
    if end_radius is not None:
        inside += np.float32(end_radius - radius) * share
    return box, canvas.cover(inside)


def path(
    canvas: Canvas, points: Sequence[Point], radius: float | Sequence[float], hu: float
) -> None:
    """Paint rods through the points, one after another; a radius for all, or one per point."""
    radii = [radius] * len(points) if isinstance(radius, int | float) else list(radius)
    for (start, end), (first, last) in zip(pairwise(points), pairwise(radii), strict=True):
        part = tube(canvas, start, end, first, last)
        if part is not None:
            canvas.paint(*part, hu)
