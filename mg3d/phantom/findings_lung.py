"""The signs in the lung tissue, each a function from a finding to its painter."""

import math

import numpy as np

from mg3d.phantom.canvas import Canvas, ellipsoid, tube
from mg3d.phantom.patient import Finding
from mg3d.phantom.patterns import (
    GRADE,
    NUMBER,
    Painter,
    Waves,
    lobe_cover,
    patches_cover,
    sides_of,
)
from mg3d.phantom.thorax import SIGN, Thorax


def lung_nodule(finding: Finding, build: Thorax, rng: np.random.Generator) -> Painter:
    """Round spots in a lobe; the first is the one the report measures."""
    hu = {"solid": 80.0, "calcified": 700.0, "ground-glass": -300.0}[finding.kind]
    size = finding.size_mm or 10.0
    side = sides_of(finding)[0]
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


def lung_opacity(finding: Finding, build: Thorax, rng: np.random.Generator) -> Painter:
    """Ground glass: hazy patches through which vessels still show."""
    grade = GRADE[finding.severity]
    waves = Waves(rng, 38)
    patches = {}
    for side in sides_of(finding):
        count = (3, 4, 6)[grade] if finding.lobe is None else (2, 3, 4)[grade]
        places = build.lobe_points(rng, side, finding.lobe, count, 8.0)
        patches[side] = [(p, float(rng.uniform(24, 31) + 3 * grade)) for p in places]

    def paint(canvas: Canvas) -> None:
        for side, blobs in patches.items():
            field = canvas.lungs.get(side)
            cover = patches_cover(canvas, field, blobs, waves, 7.0) if field else None
            if field is None or cover is None:
                continue
            cover = cover * lobe_cover(canvas, field, side, finding.lobe)
            canvas.paint(field.box, cover * np.float32(0.42), 30)
            canvas.mark(field.box, cover, NUMBER["Lung opacity"], 0.4)

    return paint


def consolidation(finding: Finding, build: Thorax, rng: np.random.Generator) -> Painter:
    """A dense part of a lobe, with the airways still dark in it."""
    radius = (27, 33, 40)[GRADE[finding.severity]]
    waves = Waves(rng, 34)
    patches = {}
    for side in sides_of(finding):
        places = build.lobe_points(rng, side, finding.lobe, 1, 14.0)
        near = [
            tuple(float(v) for v in np.array(places[0]) + rng.normal(0, 0.5 * radius, 3))
            for _ in range(2)
        ]
        patches[side] = [(places[0], float(radius))] + [(p, 0.7 * radius) for p in near]

    def paint(canvas: Canvas) -> None:
        for side, blobs in patches.items():
            field = canvas.lungs.get(side)
            cover = patches_cover(canvas, field, blobs, waves, 2.0) if field else None  # type: ignore[arg-type]
            if field is None or cover is None:
                continue
            cover = cover * np.minimum(3 * lobe_cover(canvas, field, side, finding.lobe), 1)
            canvas.paint(field.box, cover, 35)
            canvas.mark(field.box, cover, NUMBER["Consolidation"], 0.4)
            solid = np.zeros(canvas.hu.shape, np.float32)
            solid[field.box] = cover
            for start, end, air in build.bronchi:
                part = tube(canvas, start, end, air) if start[0] * SIGN[side] > 0 else None
                if part is not None:
                    canvas.paint(part[0], part[1] * solid[part[0]], -850)

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
            holes *= lobe_cover(canvas, field, side, finding.lobe)
            there = canvas.hu[field.box]
            # Only lung becomes air: vessels stay.
            canvas.paint(field.box, holes * (there < -450), -990)
            canvas.mark(field.box, holes, NUMBER["Emphysema"], 0.35)

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
            net = net * lobe_cover(canvas, field, side, finding.lobe)
            canvas.paint(field.box, net, 0)
            canvas.mark(field.box, net, NUMBER[finding.name], 0.15)

    return paint
