"""What several signs are made of: smooth random fields, patches, lobes, balls, directions."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from mg3d.data.labels import CT_RATE_FINDINGS
from mg3d.phantom.canvas import Box, Canvas, LungField, Part, Point, ellipsoid
from mg3d.phantom.patient import Finding
from mg3d.phantom.surfaces import lobe as lobe_depth
from mg3d.phantom.thorax import Thorax

Painter = Callable[[Canvas], None]
NUMBER = {name: number for number, name in enumerate(CT_RATE_FINDINGS)}
GRADE = {"mild": 0, "moderate": 1, "severe": 2}


@dataclass(frozen=True)
class Ball:
    """An ellipsoid of a sign: what a report measures of it is twice one of its radii, mm."""

    centre: Point
    radii: Point
    turn: np.ndarray | None = None

    def part(self, canvas: Canvas, less_mm: float = 0.0) -> Part | None:
        """Its cover, at least as large as the grid cannot miss; `less_mm` smaller all round.

        Like other thin signs it is widened on large voxels, if it is smaller than they are.
        """
        most = 1.2 * canvas.edge_mm
        drawn = [max(r, min(canvas.widened(r), most)) for r in self.radii]
        radii = [max(canvas.least_radius(r) - less_mm, 0.6 * r) for r in drawn]
        return ellipsoid(canvas, self.centre, (radii[0], radii[1], radii[2]), self.turn)


def sides_of(finding: Finding) -> tuple[str, ...]:
    """The lungs a finding is in."""
    return ("right", "left") if finding.side in ("both", None) else (str(finding.side),)


def point(place: np.ndarray) -> Point:
    """An array of three as a tuple."""
    x, y, z = place.tolist()
    return x, y, z


def unit(vector: np.ndarray) -> np.ndarray:
    """The vector's direction, length 1."""
    return vector / math.sqrt(float((vector * vector).sum()) + 1e-9)


def random_turn(rng: np.random.Generator) -> np.ndarray:
    """A random rotation, (3, 3), its axes as rows."""
    q = rng.standard_normal(4)
    w, x, y, z = q / math.sqrt(float((q * q).sum()))
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )


class Waves:
    """A smooth random field over the body: plane waves added up, about 1 high.

    Args:
        rng: draws directions and phases.
        length_mm: of a wave; patches are about half as wide.
        count: how many waves; more look more random.
    """

    def __init__(self, rng: np.random.Generator, length_mm: float, count: int = 5):
        vectors = rng.standard_normal((count, 3))
        vectors /= np.sqrt((vectors**2).sum(axis=1, keepdims=True))
        self.vectors = (vectors * 2 * math.pi / length_mm).astype(np.float32)
        self.phases = (rng.random(count) * 2 * math.pi).astype(np.float32)

    def __call__(self, canvas: Canvas, box: Box) -> np.ndarray:
        """The field at the voxels of a box."""
        x, y, z = canvas.x[box], canvas.y[box], canvas.z[box]
        total = np.zeros(x.shape, np.float32)
        for (a, b, c), phase in zip(self.vectors, self.phases, strict=True):
            total += np.sin(a * x + b * y + c * z + phase)
        return total * np.float32(math.sqrt(2 / len(self.phases)))


def lobe_cover(
    canvas: Canvas, build: Thorax, field: LungField, side: str, lobe: str | None
) -> np.ndarray:
    """Cover of a lobe, or of the whole lung for None."""
    if lobe is None:
        return field.cover
    x, y, z = canvas.place[:, *field.box]
    return field.cover * canvas.cover(lobe_depth(build, side, lobe, x, y, z))


def patches_cover(
    canvas: Canvas,
    field: LungField | None,
    blobs: list[tuple[Point, float]],
    waves: Waves,
    soft_mm: float,
) -> np.ndarray | None:
    """Cover of some patches with wavy borders, over a lung's box; None if none is in sight."""
    total: np.ndarray | None = None
    for centre, radius in blobs if field is not None else ():
        reach = 1.4 * radius + soft_mm
        box = canvas.box(centre, (reach, reach, reach))
        if box is None:
            continue
        offset = canvas.place[:, *box] - np.array(centre, np.float32).reshape(3, 1, 1, 1)
        offset *= offset
        inside = np.float32(radius) - np.sqrt(np.add.reduce(offset, axis=0))
        inside += np.float32(0.22 * radius) * waves(canvas, box)
        cover = inside * np.float32(1 / max(soft_mm, canvas.edge_mm)) + np.float32(0.5)
        if total is None:
            total = np.zeros(canvas.hu.shape, np.float32)
        np.maximum(total[box], np.clip(cover, 0, 1), out=total[box])
    return None if total is None or field is None else total[field.box]
