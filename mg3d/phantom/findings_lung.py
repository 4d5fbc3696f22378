"""The signs in the lungs and around them, each a function from a finding to its painter."""

import math
from collections.abc import Callable

import numpy as np

from mg3d.data.labels import CT_RATE_FINDINGS
from mg3d.phantom.canvas import Box, Canvas, LungField, Point, ellipsoid, tube
from mg3d.phantom.patient import Finding
from mg3d.phantom.thorax import SIGN, Thorax, lobe_distance

Painter = Callable[[Canvas], None]
NUMBER = {name: number for number, name in enumerate(CT_RATE_FINDINGS)}
GRADE = {"mild": 0, "moderate": 1, "severe": 2}


def _sides(finding: Finding) -> tuple[str, ...]:
    return ("right", "left") if finding.side in ("both", None) else (str(finding.side),)


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


def _lobe(canvas: Canvas, field: LungField, side: str, lobe: str | None) -> np.ndarray:
    """Cover of a lobe, or of the whole lung for None."""
    if lobe is None:
        return field.cover
    distance = lobe_distance(side, lobe, canvas.y[field.box], canvas.z[field.box])
    return field.cover * canvas.cover(distance)


def _blobs(
    canvas: Canvas, field: LungField, blobs: list[tuple[Point, float]], waves: Waves, soft_mm: float
) -> np.ndarray | None:
    """Cover of some patches with wavy borders, over a lung's box; None if none is in sight."""
    total: np.ndarray | None = None
    for centre, radius in blobs:
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
    return None if total is None else total[field.box]


def pleural_effusion(finding: Finding, build: Thorax, rng: np.random.Generator) -> Painter:
    """Fluid at the back and the base; the lung above it is pushed away."""
    hu = float(rng.uniform(4, 18))

    def paint(canvas: Canvas) -> None:
        for side in _sides(finding):
            field = canvas.lungs.get(side)
            if field is None:
                continue
            y, z = canvas.y[field.box], canvas.z[field.box]
            fluid = build.pleural_fluid(side, y, z) - field.depth
            cover = canvas.cover(fluid)
            field.depth = np.minimum(field.depth, -fluid)
            # Voxels that are partly chest wall become all fluid: no rim of lung is left between.
            canvas.paint(field.box, cover * (field.cover > 0.02), hu)
            canvas.mark(field.box, cover * field.cover, NUMBER["Pleural effusion"], 0.4)
            field.cover = field.cover * (1 - cover)

    return paint


def mosaic_attenuation(finding: Finding, build: Thorax, rng: np.random.Generator) -> Painter:
    """Patches of denser and of emptier lung, with rather sharp borders, on both sides."""
    waves = Waves(rng, 62, 6)
    strength = np.float32((0.85, 1.0, 1.2)[GRADE[finding.severity]])

    def paint(canvas: Canvas) -> None:
        for field in canvas.lungs.values():
            patch = np.clip(waves(canvas, field.box) * np.float32(3.5), -1, 1)
            change = np.where(patch > 0, np.float32(165), np.float32(85)) * patch * strength
            canvas.hu[field.box] += change * field.cover
            canvas.mark(field.box, np.abs(patch) * field.cover, NUMBER[finding.name], 0.6)

    return paint


def emphysema(finding: Finding, build: Thorax, rng: np.random.Generator) -> Painter:
    """Holes of air: all over the lobe, or in a row below the pleura."""
    waves = Waves(rng, 36 if finding.kind == "centrilobular" else 42, 8)
    threshold = np.float32((0.35, 0.1, -0.15)[GRADE[finding.severity]])
    rim_mm = np.float32(20)

    def paint(canvas: Canvas) -> None:
        for side, field in canvas.lungs.items():
            holes = np.clip((waves(canvas, field.box) - threshold) * np.float32(3), 0, 1)
            if finding.kind == "paraseptal":
                holes *= canvas.cover(rim_mm - field.depth)
            holes *= _lobe(canvas, field, side, finding.lobe)
            there = canvas.hu[field.box]
            # Only lung becomes air: vessels stay.
            canvas.paint(field.box, holes * (there < -450), -990)
            canvas.mark(field.box, holes, NUMBER["Emphysema"], 0.35)

    return paint


def lung_opacity(finding: Finding, build: Thorax, rng: np.random.Generator) -> Painter:
    """Ground glass: hazy patches through which vessels still show."""
    grade = GRADE[finding.severity]
    waves = Waves(rng, 38)
    patches = {}
    for side in _sides(finding):
        count = (3, 4, 6)[grade] if finding.lobe is None else (2, 3, 4)[grade]
        places = build.lobe_points(rng, side, finding.lobe, count, 8.0)
        patches[side] = [(p, float(rng.uniform(24, 31) + 3 * grade)) for p in places]

    def paint(canvas: Canvas) -> None:
        for side, blobs in patches.items():
            field = canvas.lungs.get(side)
            cover = _blobs(canvas, field, blobs, waves, 7.0) if field else None
            if field is None or cover is None:
                continue
            cover = cover * _lobe(canvas, field, side, finding.lobe)
            canvas.paint(field.box, cover * np.float32(0.42), 30)
            canvas.mark(field.box, cover, NUMBER["Lung opacity"], 0.4)

    return paint


def consolidation(finding: Finding, build: Thorax, rng: np.random.Generator) -> Painter:
    """A dense part of a lobe, with the airways still dark in it."""
    radius = (27, 33, 40)[GRADE[finding.severity]]
    waves = Waves(rng, 34)
    patches = {}
    for side in _sides(finding):
        places = build.lobe_points(rng, side, finding.lobe, 1, 14.0)
        near = [
            tuple(float(v) for v in np.array(places[0]) + rng.normal(0, 0.5 * radius, 3))
            for _ in range(2)
        ]
        patches[side] = [(places[0], float(radius))] + [(p, 0.7 * radius) for p in near]

    def paint(canvas: Canvas) -> None:
        for side, blobs in patches.items():
            field = canvas.lungs.get(side)
            cover = _blobs(canvas, field, blobs, waves, 2.0) if field else None  # type: ignore[arg-type]
            if field is None or cover is None:
                continue
            cover = cover * np.minimum(3 * _lobe(canvas, field, side, finding.lobe), 1)
            canvas.paint(field.box, cover, 35)
            canvas.mark(field.box, cover, NUMBER["Consolidation"], 0.4)
            solid = np.zeros(canvas.hu.shape, np.float32)
            solid[field.box] = cover
            for start, end, air in build.bronchi:
                part = tube(canvas, start, end, air) if start[0] * SIGN[side] > 0 else None
                if part is not None:
                    canvas.paint(part[0], part[1] * solid[part[0]], -850)

    return paint


def septal_thickening(finding: Finding, build: Thorax, rng: np.random.Generator) -> Painter:
    """A net of fine lines in the outer lung."""
    length_mm = 38.0
    sheets = [Waves(rng, length_mm, 6) for _ in range(2)]
    half_mm = (0.9, 1.2, 1.5)[GRADE[finding.severity]]
    outer_mm = np.float32(32)

    def paint(canvas: Canvas) -> None:
        drawn = max(half_mm, 0.25 * canvas.edge_mm)
        for side, field in canvas.lungs.items():
            net = np.zeros(field.cover.shape, np.float32)
            for sheet in sheets:  # a septum is where a wave field crosses zero
                gap = np.abs(sheet(canvas, field.box)) * np.float32(length_mm / (2 * math.pi))
                net = np.maximum(net, canvas.cover(np.float32(drawn) - gap))
            net = net * np.float32(half_mm / drawn)
            net = net * canvas.cover((outer_mm - field.depth) * np.float32(0.4))
            net = net * _lobe(canvas, field, side, finding.lobe)
            canvas.paint(field.box, net, 0)
            canvas.mark(field.box, net, NUMBER[finding.name], 0.15)

    return paint


def peribronchial_thickening(finding: Finding, build: Thorax, rng: np.random.Generator) -> Painter:
    """Thick walls around the central bronchi of both lungs."""
    wall = (3.6, 4.4, 5.2)[GRADE[finding.severity]] + 0.4 * float(rng.random())

    def paint(canvas: Canvas) -> None:
        for start, end, air in build.bronchi:
            cuff = tube(canvas, start, end, air + wall)
            if cuff is not None:
                canvas.paint(*cuff, 0)
                canvas.mark(*cuff, NUMBER["Peribronchial thickening"], 0.4)
        for start, end, air in build.bronchi:
            lumen = tube(canvas, start, end, air, thin=0.4 * canvas.edge_mm)
            if lumen is not None:
                canvas.paint(*lumen, -900)

    return paint


def fibrotic_sequela(finding: Finding, build: Thorax, rng: np.random.Generator) -> Painter:
    """Scars at the lung's top (or base): bands, a cap of thick pleura, specks of calcium."""
    grade = GRADE[finding.severity]
    scars: list[tuple[Point, list[Point], float]] = []
    specks: list[Point] = []
    for side in _sides(finding):
        places = build.lobe_points(rng, side, finding.lobe, 120, 3.0)
        up = 1 if finding.lobe == "upper lobe" else -1
        places = sorted(places, key=lambda p: -up * p[2])[:14]
        hub = places[int(rng.random() * 6)]
        inward = np.array([SIGN[side] * 40, -10, hub[2] - up * 55])
        ends: list[Point] = []
        for _ in range(5 + grade):
            end = np.array(hub) + (inward - hub) * rng.uniform(0.5, 0.95) + rng.normal(0, 14, 3)
            ends.append((float(end[0]), float(end[1]), float(end[2])))
        for _ in range(4 + 2 * grade):
            speck = np.array(hub) + (inward - hub) * rng.uniform(0.0, 0.4) + rng.normal(0, 9, 3)
            specks.append((float(speck[0]), float(speck[1]), float(speck[2])))
        scars.append((hub, ends, float(rng.uniform(32, 38) + 4 * grade)))

    def paint(canvas: Canvas) -> None:
        inside = np.zeros(canvas.hu.shape, np.float32)
        for field in canvas.lungs.values():
            inside[field.box] = np.maximum(inside[field.box], field.cover)
        for hub, ends, radius in scars:
            for end in ends:
                part = tube(canvas, hub, end, canvas.least_radius(3.4 + 0.6 * grade))
                if part is not None:
                    box, cover = part[0], part[1] * inside[part[0]]
                    canvas.paint(box, cover, 20)
                    canvas.mark(box, cover, NUMBER[finding.name])
            side = "right" if hub[0] > 0 else "left"
            cap, lung = ellipsoid(canvas, hub, (radius, radius, radius)), canvas.lungs.get(side)
            if cap is not None and lung is not None:
                rim = np.zeros(canvas.hu.shape, np.float32)
                rim[lung.box] = (lung.cover > 0.02) * canvas.cover(
                    np.float32(14 + 2 * grade) - lung.depth
                )
                cover = cap[1] * rim[cap[0]]
                canvas.paint(cap[0], cover, 35)
                canvas.mark(cap[0], cover, NUMBER[finding.name], 0.3)
        radius = canvas.least_radius(2.5)
        for speck in specks:
            part = ellipsoid(canvas, speck, (radius, radius, radius))
            if part is not None:
                cover = part[1] * inside[part[0]]
                canvas.paint(part[0], cover, 600)
                canvas.mark(part[0], cover, NUMBER[finding.name])

    return paint


def atelectasis(finding: Finding, build: Thorax, rng: np.random.Generator) -> Painter:
    """Airless plates, or a thicker wedge, at the base of a lobe."""
    grade = GRADE[finding.severity]
    plates: list[tuple[Point, tuple[float, float, float], np.ndarray]] = []
    for side in _sides(finding):
        places = build.lobe_points(rng, side, finding.lobe, 100, 12.0)
        places = sorted(places, key=lambda p: p[2])[:25]
        for _ in range(3 + grade if finding.kind == "linear" else 2 + grade // 2):
            place = places[int(rng.random() * len(places))]
            slope = random_turn(rng) * 0.22 + np.eye(3)
            across = slope[0] / math.sqrt(float((slope[0] ** 2).sum()))
            up = np.cross(across, slope[1])
            up /= math.sqrt(float((up**2).sum()))
            turn = np.stack([across, np.cross(up, across), up])
            thick = rng.uniform(4.5, 6) if finding.kind == "linear" else rng.uniform(11, 15)
            size = (float(rng.uniform(28, 40)), float(rng.uniform(24, 34)), float(thick))
            plates.append((place, size, turn))

    def paint(canvas: Canvas) -> None:
        inside = np.zeros(canvas.hu.shape, np.float32)
        for field in canvas.lungs.values():
            inside[field.box] = np.maximum(inside[field.box], field.cover)
        for place, (a, b, thick), turn in plates:
            part = ellipsoid(canvas, place, (a, b, canvas.least_radius(thick)), turn)
            if part is not None:
                cover = part[1] * inside[part[0]]
                canvas.paint(part[0], cover, 25)
                canvas.mark(part[0], cover, NUMBER["Atelectasis"])

    return paint


def bronchiectasis(finding: Finding, build: Thorax, rng: np.random.Generator) -> Painter:
    """Wide airways with bright walls, far out where they should be thin."""
    tubes: list[tuple[Point, Point, float]] = []
    for side in _sides(finding):
        for place in build.lobe_points(
            rng, side, finding.lobe, 8 + 3 * GRADE[finding.severity], 11.0
        ):
            centre = np.array(place)
            inward = np.array([SIGN[side] * 36, -12, 0]) - centre
            inward = inward / max(30.0, math.sqrt(float((inward**2).sum())))
            end = centre + inward * rng.uniform(18, 30) + rng.normal(0, 5, 3)
            tubes.append(
                (
                    place,
                    (float(end[0]), float(end[1]), float(end[2])),
                    7.0 + 3.0 * float(rng.random()),
                )
            )

    def paint(canvas: Canvas) -> None:
        for start, end, radius in tubes:
            wall = tube(canvas, start, end, radius + 3.0)
            if wall is not None:
                canvas.paint(*wall, 40)
                canvas.mark(*wall, NUMBER["Bronchiectasis"], 0.4)
        for start, end, radius in tubes:
            lumen = tube(canvas, start, end, radius - 1.0)
            if lumen is not None:
                canvas.paint(*lumen, -960)

    return paint


def lung_nodule(finding: Finding, build: Thorax, rng: np.random.Generator) -> Painter:
    """Round spots in a lobe; the first is the one the report measures."""
    hu = {"solid": 80.0, "calcified": 700.0, "ground-glass": -300.0}[finding.kind]
    size = finding.size_mm or 10.0
    side = _sides(finding)[0]
    places = build.lobe_points(rng, side, finding.lobe, finding.count, 0.6 * size + 3)
    spots = []
    for number, place in enumerate(places):
        radius = 0.5 * size * (1.0 if number == 0 else float(rng.uniform(0.75, 1.0)))
        stretch = rng.uniform(0.9, 1.1, 3)
        spots.append((place, radius, stretch))

    def paint(canvas: Canvas) -> None:
        for place, radius, (a, b, c) in spots:
            r = canvas.least_radius(radius)
            part = ellipsoid(canvas, place, (r * a, r * b, r * c))
            if part is not None:
                canvas.paint(*part, hu)
                canvas.mark(*part, NUMBER["Lung nodule"])

    return paint
