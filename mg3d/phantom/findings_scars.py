"""Airless lung and old scars: atelectasis and fibrotic sequelae, which start from the pleura."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

import numpy as np

from mg3d.phantom import surfaces
from mg3d.phantom.canvas import Canvas, LungField, Point, ellipsoid, tube
from mg3d.phantom.patient import Finding
from mg3d.phantom.patterns import (
    GRADE,
    NUMBER,
    Painter,
    Waves,
    lobe_cover,
    point,
    sides_of,
    unit,
)
from mg3d.phantom.surfaces import SIGN
from mg3d.phantom.thorax import Thorax
from mg3d.phantom.trees import HILUM

Shape = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]  # body mm to mm inside


def _outwards(side: str, lobe: str | None, place: np.ndarray) -> np.ndarray:
    """Direction from the lobe's hilum to a place."""
    x, y, z = HILUM[side, str(lobe)] if lobe else (45.0, -12.0, 10.0)
    return unit(place - np.array([SIGN[side] * x, y, z]))


@dataclass(frozen=True)
class Band:
    """A bent plate that reaches the pleura: its place there, axes (3, 3), sizes in mm."""

    place: np.ndarray
    axes: np.ndarray  # rows: inwards along it, across, its normal
    length: float
    half_width: float
    half_thick: float
    bend: float

    def cover(self, canvas: Canvas, field: LungField) -> np.ndarray:
        """Share of the voxels of a lung's box that it fills; it thins out towards its end."""
        off = [c - p for c, p in zip(canvas.place[:, *field.box], self.place.tolist(), strict=True)]
        u, v, w = (sum(c * o for c, o in zip(r, off, strict=True)) for r in self.axes.tolist())
        share = np.clip(u * (1 / self.length), 0, 1)
        drawn = max(canvas.widened(self.half_thick), 0.3 * canvas.edge_mm)
        bent = w - self.bend * u * u + 0.5 * self.bend * v * v
        thick = drawn * (1 - 0.45 * share) - np.abs(bent)
        broad = self.half_width * (1 - 0.35 * share) - np.abs(v)
        return canvas.cover(np.minimum(np.minimum(thick, broad), self.length - u))


def linear_bands(
    finding: Finding, build: Thorax, rng: np.random.Generator, side: str
) -> list[Band]:
    """Thin plates at the lower border of a lobe, from the pleura towards the hilum."""
    grade = GRADE[finding.severity]
    places = build.lobe_points(rng, side, finding.lobe, 60, 7.0)
    places = sorted(places, key=lambda place: place[2] - 0.2 * place[1])[:14]
    bands = []
    for _ in range(2 + grade):
        place = np.array(places[int(rng.random() * len(places))])
        out = _outwards(side, finding.lobe, place) * np.array([1, 1, 0.35])
        inward = -unit(out + 0.25 * rng.standard_normal(3))
        # It stands oblique to the axial plane, so that a slice shows a line, not a patch.
        normal = np.array([-inward[1], inward[0], 0.0])
        normal = unit(normal * (1 if rng.random() < 0.5 else -1) + np.array([0, 0, 0.55]))
        normal = unit(normal - (normal * inward).sum() * inward)
        x, y, z = np.array(place)[:, None] - inward[:, None] * np.arange(0.0, 50.0, 2.0)
        outside = build.room(side, finding.lobe, x, y, z) < 0
        reach = 2.0 * int(np.argmax(outside)) if outside.any() else 20.0
        bands.append(
            Band(
                place - inward * (reach + 3),
                np.stack([inward, np.cross(normal, inward), normal]),
                length=float(rng.uniform(32, 50)) + 0.4 * reach,
                half_width=float(rng.uniform(11, 20)),
                half_thick=float(rng.uniform(1.0, 1.4) + 0.3 * grade),
                bend=float(rng.uniform(-0.006, 0.006)),
            )
        )
    return bands


def _wedge(finding: Finding, build: Thorax, rng: np.random.Generator, side: str) -> Shape:
    """A cone with its base at the pleura, its tip towards the hilum: an airless segment's part."""
    grade = GRADE[finding.severity]
    places = build.lobe_points(rng, side, finding.lobe, 60, 9.0)
    places = sorted(places, key=lambda place: place[2] - 0.2 * place[1])[:14]
    place = np.array(places[int(rng.random() * len(places))])
    out = _outwards(side, finding.lobe, place)
    length, slope = (38.0, 46.0, 60.0)[grade], (0.50, 0.55, 0.62)[grade]
    tip = place - out * 0.6 * length

    def inside(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
        off = x - tip[0].item(), y - tip[1].item(), z - tip[2].item()
        along = sum(c * o for c, o in zip(out.tolist(), off, strict=True))
        away = np.sqrt(np.maximum(sum(o * o for o in off) - along * along, 0))
        wedge = np.minimum(slope * along - away, along)
        return np.minimum(wedge, length * 1.15 - along)

    return inside


def _collapsed(finding: Finding, build: Thorax, rng: np.random.Generator, side: str) -> Shape:
    """A lobe without air, folded against mediastinum and diaphragm from the hilum on.

    A lower lobe lies as a wedge beside the spine, broader downwards; an upper lobe against the
    mediastinum, on the left before it; the middle lobe as a triangle beside the heart.
    """
    x_hilum, y_hilum, z_hilum = HILUM[side, str(finding.lobe)]
    size = float(rng.uniform(0.85, 1.15))
    sign = SIGN[side]
    low = build.domes[side]

    def inside(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
        aside, forward = sign * x - x_hilum, y - y_hilum
        if finding.lobe == "lower lobe":
            down = np.clip((z_hilum + 22 - z) * (1 / (z_hilum + 22 - low)), 0, 1.3)
            wide = size * (6 + 34 * down)
            return (wide - np.maximum(aside, -14) - 0.75 * np.maximum(forward + 8, -60)) * 0.7 - 9
        if finding.lobe == "middle lobe":
            middle = np.abs(surfaces.above_horizontal(build, x, y, z) + 16)
            return np.minimum(34 * size - aside - 0.15 * np.abs(forward - 25), 60 - middle) * 0.8
        up = np.clip((z - z_hilum + 12) * (1 / 70), 0, 1.2)
        ahead = 0.35 * forward if side == "right" else -0.75 * forward
        return (size * (5 + 22 * up) - aside - ahead) * 0.75

    return inside


def atelectasis(finding: Finding, build: Thorax, rng: np.random.Generator) -> Painter:
    """Thin bands at the pleura, an airless wedge of a segment, or a collapsed lobe.

    The volume that a lobe has lost shows in the build: fissures and diaphragm come nearer.
    """
    bands: dict[str, list[Band]] = {}
    shapes: dict[str, Shape] = {}
    for side in sides_of(finding):
        if finding.kind == "linear":
            bands[side] = linear_bands(finding, build, rng, side)
        elif finding.kind == "volume loss" and finding.lobe:
            shapes[side] = _collapsed(finding, build, rng, side)
        else:
            shapes[side] = _wedge(finding, build, rng, side)
    waves = Waves(rng, 34, 4)

    def paint(canvas: Canvas) -> None:
        for side, field in canvas.lungs.items():
            total = np.zeros(field.cover.shape, np.float32)
            for band in bands.get(side, []):
                np.maximum(total, band.cover(canvas, field), out=total)
            if side in shapes:
                inside = shapes[side](*canvas.place[:, *field.box])
                total = canvas.cover((inside + 2 * waves(canvas, field.box)).astype(np.float32))
            if not total.any():
                continue
            cover = total * lobe_cover(canvas, build, field, side, finding.lobe)
            canvas.paint(field.box, cover, 32)
            canvas.mark(field.box, cover, NUMBER["Atelectasis"])

    return paint


@dataclass(frozen=True)
class _Scar:
    """What is left of an old infection in one lung."""

    side: str
    middle: Point  # of the thick pleura
    radius: float
    bands: list[list[Point]]  # each three or more places, from the pleura inwards
    specks: list[Point]


def _scar(finding: Finding, build: Thorax, rng: np.random.Generator, side: str) -> _Scar:
    grade = GRADE[finding.severity]
    up = 1 if finding.lobe == "upper lobe" else -1
    places = build.lobe_points(rng, side, finding.lobe, 160, 2.0)
    places = sorted(places, key=lambda p: -up * p[2])[:56]
    middle = np.mean(np.array(places[:20]), axis=0)
    # The outer places are near the pleura; bands run from there across the scarred part.
    away = ((np.array(places) - middle) ** 2).sum(axis=1)
    outer = [places[k] for k in np.argsort(-away, kind="stable")[: len(places) // 2]]
    bands = []
    for _ in range(8 + 2 * grade):
        place = np.array(outer[int(rng.random() * len(outer))])
        aim = middle + rng.normal(0, 9, 3) - np.array([0.0, 0.0, 4.0 * up])
        inward = unit((aim - place) * np.array([1, 1, 0.4]))
        length = float(rng.uniform(20, 40))
        step = length / 4
        course = [point(place - 9 * inward)]
        here = place
        for _ in range(4):
            inward = unit(inward + 0.35 * rng.standard_normal(3))
            here = here + step * inward
            course.append(point(here))
        bands.append(course)
    chosen = [places[int(rng.random() * len(places))] for _ in range(2 + 2 * grade)]
    specks = [point(np.array(place) + rng.normal(0, 4, 3)) for place in chosen]
    return _Scar(side, point(middle), float(rng.uniform(29, 35) + 4 * grade), bands, specks)


def fibrotic_sequela(finding: Finding, build: Thorax, rng: np.random.Generator) -> Painter:
    """Old scars at the lung's top (or base): uneven thick pleura, bands to the hilum, calcium."""
    grade = GRADE[finding.severity]
    scars = [_scar(finding, build, rng, side) for side in sides_of(finding)]
    waves, fine = Waves(rng, 30, 4), Waves(rng, 11, 5)
    number = NUMBER[finding.name]

    def paint(canvas: Canvas) -> None:
        for scar in scars:
            lung = canvas.lungs.get(scar.side)
            if lung is None:
                continue
            inside = np.zeros(canvas.hu.shape, np.float32)
            cover = lobe_cover(canvas, build, lung, scar.side, finding.lobe)
            # Long voxels at the lung's border are mostly something else: the scar fills them, too.
            inside[lung.box] = cover if canvas.edge_mm < 4 else np.minimum(3 * cover, 1)
            _paint_cap(canvas, inside[lung.box], lung, scar)
            for course in scar.bands:
                _paint_band(canvas, inside, course)
            radius = canvas.least_radius(1.6)
            for speck in scar.specks:
                part = ellipsoid(canvas, speck, (radius, radius, radius))
                if part is not None:
                    cover = part[1] * inside[part[0]]
                    canvas.paint(part[0], cover, 500)
                    canvas.mark(part[0], cover, number)

    def _paint_cap(canvas: Canvas, inside: np.ndarray, lung: LungField, scar: _Scar) -> None:
        """Pleura of uneven thickness, its inner border jagged."""
        radius = scar.radius
        cap = ellipsoid(canvas, scar.middle, (radius, radius, radius))
        if cap is None:
            return
        rim = np.zeros(canvas.hu.shape, np.float32)
        thick = 1.8 + 0.9 * grade + 1.9 * waves(canvas, lung.box) + 0.5 * fine(canvas, lung.box)
        thick = canvas.widened(thick)
        thick = np.maximum(thick, np.float32(0.25 * canvas.edge_mm))
        rim[lung.box] = inside * canvas.cover(thick - lung.depth)
        cover = cap[1] * rim[cap[0]]
        canvas.paint(cap[0], cover, 30)
        canvas.mark(cap[0], cover, number, 0.4 if canvas.edge_mm < 4 else 0.25)

    def _paint_band(canvas: Canvas, inside: np.ndarray, course: list[Point]) -> None:
        """Broad at the pleura, thin at its end; higher than it is thick."""
        thick = [3.4, 1.7, 1.3, 1.0, 0.7]
        thick = [max(r + 0.3 * grade, 0.4 * canvas.edge_mm) for r in thick]
        heights = (-5.5, -3.0, 0.0, 3.0, 5.5) if canvas.edge_mm < 4 else (0.0,)
        for k, height in product(range(len(course) - 1), heights):
            (ax, ay, az), (bx, by, bz) = course[k], course[k + 1]
            start, end = (ax + 0.2 * height, ay, az + height), (bx + 0.2 * height, by, bz + height)
            part = tube(canvas, start, end, thick[k], thick[k + 1])
            if part is not None:
                cover = part[1] * inside[part[0]]
                canvas.paint(part[0], cover, 15)
                canvas.mark(part[0], cover, number, 0.3)

    return paint
