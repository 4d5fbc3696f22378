"""The signs in the lung tissue, each a function from a finding to its painter."""

import numpy as np

from mg3d.phantom.canvas import Canvas
from mg3d.phantom.patient import Finding
from mg3d.phantom.patterns import (
    GRADE,
    NUMBER,
    Ball,
    Painter,
    Waves,
    lobe_cover,
    patches_cover,
    point,
    random_turn,
    sides_of,
)
from mg3d.phantom.rods import rods
from mg3d.phantom.thorax import Thorax
from mg3d.phantom.trees import curved

NODULE_HU = {"solid": 45.0, "calcified": 500.0, "ground-glass": -480.0}


def nodules(finding: Finding, build: Thorax, rng: np.random.Generator) -> list[Ball]:
    """The nodules of a lobe; the longest axis of the first is what the report measures."""
    size = finding.size_mm or 10.0
    side = sides_of(finding)[0]
    deep = 0.5 * size + 3
    places = np.array(build.lobe_points(rng, side, finding.lobe, 16 * finding.count, deep))
    room = build.room(side, finding.lobe, *places.T)
    most = float(room.max())  # below 0 where fluid or a fold has left the lobe no room
    places = places[room >= min(0.25 * size, 3.0, most - 0.1 * abs(most))]
    balls: list[Ball] = []
    apart = np.full(len(places), np.inf)  # from the nodules so far; the next one is the farthest
    for number in range(finding.count):
        chosen = 0 if number == 0 else int(np.argmax(apart))
        apart = np.minimum(apart, np.sqrt(((places - places[chosen]) ** 2).sum(axis=1)))
        radius = 0.5 * size * (1.0 if number == 0 else float(rng.uniform(0.65, 0.95)))
        a, b = rng.uniform(0.8, 1.0, 2).tolist()
        turn = random_turn(rng)
        balls.append(Ball(point(places[chosen]), (radius, radius * a, radius * b), turn))
    return balls


def lung_nodule(finding: Finding, build: Thorax, rng: np.random.Generator) -> Painter:
    """Round spots in a lobe."""
    hu = NODULE_HU[finding.kind]
    balls = nodules(finding, build, rng)

    def paint(canvas: Canvas) -> None:
        for ball in balls:
            part = ball.part(canvas)
            if part is not None:
                box, cover = part
                # Vessels show through ground glass, so it never makes anything darker.
                canvas.paint(box, cover, np.maximum(canvas.hu[box], hu) if hu < 0 else hu)
                canvas.mark(box, cover, NUMBER["Lung nodule"])

    return paint


def lung_opacity(finding: Finding, build: Thorax, rng: np.random.Generator) -> Painter:
    """Ground glass: hazy patches through which vessels still show."""
    grade = GRADE[finding.severity]
    waves, grain = Waves(rng, 38), Waves(rng, 13, 4)
    density = np.float32(rng.uniform(0.26, 0.4) + 0.02 * grade)  # share of tissue in the haze
    patches = {}
    for side in sides_of(finding):
        count = (3, 4, 6)[grade] if finding.lobe is None else (2, 3, 4)[grade]
        places = build.lobe_points(rng, side, finding.lobe, count, 8.0)
        patches[side] = [(p, float(rng.uniform(16, 30) + 4 * grade)) for p in places]

    def paint(canvas: Canvas) -> None:
        for side, blobs in patches.items():
            field = canvas.lungs.get(side)
            cover = patches_cover(canvas, field, blobs, waves, 7.0)
            if field is None or cover is None:
                continue
            cover = cover * lobe_cover(canvas, build, field, side, finding.lobe)
            haze = density + np.float32(0.05) * grain(canvas, field.box)
            canvas.paint(field.box, cover * haze, 30)
            canvas.mark(field.box, cover, NUMBER["Lung opacity"], 0.4)

    return paint


def consolidation(finding: Finding, build: Thorax, rng: np.random.Generator) -> Painter:
    """A dense part of a lobe, with the airways still dark in it."""
    radius = (25, 32, 40)[GRADE[finding.severity]] * float(rng.uniform(0.85, 1.1))
    waves, lobules = Waves(rng, 40), Waves(rng, 11, 7)
    open_ = curved(build.bronchi.with_radius(np.maximum(build.bronchi.radius, 1.3)))
    patches = {}
    for side in sides_of(finding):
        places = build.lobe_points(rng, side, finding.lobe, 1, 9.0)
        near = [
            tuple(float(v) for v in np.array(places[0]) + rng.normal(0, 0.5 * radius, 3))
            for _ in range(2)
        ]
        patches[side] = [(places[0], float(radius))] + [(p, 0.7 * radius) for p in near]

    def paint(canvas: Canvas) -> None:
        for side, blobs in patches.items():
            field = canvas.lungs.get(side)
            cover = patches_cover(canvas, field, blobs, waves, 16.0)  # type: ignore[arg-type]
            if field is None or cover is None:
                continue
            # Lobules fill one by one towards the border, so it is ragged, with a hazy rim.
            ragged = 2.2 * cover - 0.6 + np.float32(0.3) * lobules(canvas, field.box) * (1 - cover)
            haze = np.float32(0.25) * cover
            cover = np.clip(np.maximum(ragged, haze), 0, 1)
            cover = cover * np.minimum(3 * lobe_cover(canvas, build, field, side, finding.lobe), 1)
            canvas.paint(field.box, cover, 35)
            canvas.mark(field.box, cover, NUMBER["Consolidation"], 0.4)
            solid = np.zeros(canvas.hu.shape, np.float32)
            solid[field.box] = cover
            for box, air in rods(canvas, open_):
                canvas.paint(box, air * solid[box], -850)

    return paint


def emphysema(finding: Finding, build: Thorax, rng: np.random.Generator) -> Painter:
    """Holes of air: small ones in clusters all over the lobe, or a row of cysts at the pleura.

    A high threshold of a random field leaves separate round spots; they run together in clusters.
    """
    near = finding.kind == "paraseptal"
    holes_of = Waves(rng, 26 if near else float(rng.uniform(11, 15)), 12)
    clusters = Waves(rng, 85, 4)
    threshold = np.float32((0.6, 0.3, -0.05)[GRADE[finding.severity]])
    threshold = threshold - np.float32(0.4) if near else threshold
    rim_mm = np.float32(rng.uniform(10, 17))
    hole_hu = float(rng.uniform(-985, -950))

    def paint(canvas: Canvas) -> None:
        for side, field in canvas.lungs.items():
            share = holes_of(canvas, field.box) - threshold
            if not near:
                share += np.float32(0.6) * clusters(canvas, field.box)
            holes = np.clip(share * np.float32(3), 0, 1)
            if near:
                holes *= canvas.cover(rim_mm - field.depth)
            holes *= lobe_cover(canvas, build, field, side, finding.lobe)
            there = canvas.hu[field.box]
            # Only lung becomes air: vessels stay.
            canvas.paint(field.box, holes * (there < -450), hole_hu)
            canvas.mark(field.box, holes, NUMBER["Emphysema"], 0.35)

    return paint


def mosaic_attenuation(finding: Finding, build: Thorax, rng: np.random.Generator) -> Painter:
    """Patches of denser and of emptier lung, with rather sharp borders, on both sides."""
    waves, lobules = Waves(rng, 62, 9), Waves(rng, 19, 6)
    strength = np.float32((0.75, 0.9, 1.1)[GRADE[finding.severity]] * rng.uniform(0.85, 1.15))
    level = np.float32(rng.uniform(-0.35, 0.35))  # how much of the lung is dark

    def paint(canvas: Canvas) -> None:
        for field in canvas.lungs.values():
            field_of = waves(canvas, field.box) + np.float32(0.45) * lobules(canvas, field.box)
            patch = np.clip((field_of + level) * np.float32(7), -1, 1)
            change = np.where(patch > 0, np.float32(140), np.float32(95)) * patch * strength
            canvas.hu[field.box] += change * field.cover
            canvas.mark(field.box, np.abs(patch) * field.cover, NUMBER[finding.name], 0.6)

    return paint
