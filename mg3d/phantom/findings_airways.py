"""The signs of airways and pleura, with the scars and airless parts that start from them."""

import math

import numpy as np

from mg3d.phantom.canvas import Canvas, Point, ellipsoid, tube
from mg3d.phantom.patient import Finding
from mg3d.phantom.patterns import GRADE, NUMBER, Painter, random_turn, sides_of
from mg3d.phantom.thorax import SIGN, Thorax


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


def bronchiectasis(finding: Finding, build: Thorax, rng: np.random.Generator) -> Painter:
    """Wide airways with bright walls, far out where they should be thin."""
    tubes: list[tuple[Point, Point, float]] = []
    for side in sides_of(finding):
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


def atelectasis(finding: Finding, build: Thorax, rng: np.random.Generator) -> Painter:
    """Airless plates, or a thicker wedge, at the base of a lobe."""
    grade = GRADE[finding.severity]
    plates: list[tuple[Point, tuple[float, float, float], np.ndarray]] = []
    for side in sides_of(finding):
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


def fibrotic_sequela(finding: Finding, build: Thorax, rng: np.random.Generator) -> Painter:
    """Scars at the lung's top (or base): bands, a cap of thick pleura, specks of calcium."""
    grade = GRADE[finding.severity]
    scars: list[tuple[Point, list[Point], float]] = []
    specks: list[Point] = []
    for side in sides_of(finding):
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


def pleural_effusion(finding: Finding, build: Thorax, rng: np.random.Generator) -> Painter:
    """Fluid at the back and the base; the lung above it is pushed away."""
    hu = float(rng.uniform(4, 18))

    def paint(canvas: Canvas) -> None:
        for side in sides_of(finding):
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
