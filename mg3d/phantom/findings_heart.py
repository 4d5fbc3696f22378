"""The signs of heart, vessels and mediastinum, and what surgeons left behind."""

import math
from itertools import pairwise

import numpy as np

from mg3d.phantom.anatomy import ARCH
from mg3d.phantom.canvas import Canvas, Point, ellipsoid, tube
from mg3d.phantom.patient import Finding
from mg3d.phantom.patterns import GRADE, NUMBER, Painter
from mg3d.phantom.thorax import SIGN, Thorax

# Courses of the coronary arteries on the heart: along its long axis, to the front, upwards.
CORONARIES = (
    ((-0.45, 0.75, 0.5), (0.2, 0.9, 0.35), (0.75, 0.6, 0.2)),  # left anterior descending
    ((-0.5, 0.3, 0.8), (-0.3, -0.5, 0.75), (0.0, -0.95, 0.2)),  # circumflex
    ((-0.6, 0.75, 0.2), (-0.75, 0.5, -0.4), (-0.5, -0.1, -0.85)),  # right
)


def cardiomegaly(finding: Finding, build: Thorax, rng: np.random.Generator) -> Painter:
    """A large heart: the build has it already, the mask is the heart."""

    def paint(canvas: Canvas) -> None:
        if canvas.heart is not None:
            canvas.mark(*canvas.heart, NUMBER["Cardiomegaly"], 0.5)

    return paint


def pericardial_effusion(finding: Finding, build: Thorax, rng: np.random.Generator) -> Painter:
    """Fluid around the heart: the build has it already, the mask is the fluid."""

    def paint(canvas: Canvas) -> None:
        if canvas.fluid is not None:
            canvas.mark(*canvas.fluid, NUMBER["Pericardial effusion"])

    return paint


def _plaques(places: list[tuple[Point, float, float]], finding: str) -> Painter:
    """Painter of small spheres of calcium: place, radius, HU."""

    def paint(canvas: Canvas) -> None:
        for place, radius, hu in places:
            r = canvas.least_radius(radius)
            part = ellipsoid(canvas, place, (r, r, r))
            if part is not None:
                canvas.paint(*part, hu)
                canvas.mark(*part, NUMBER[finding])

    return paint


def _along(course: list[Point], share: float) -> tuple[np.ndarray, np.ndarray]:
    """The point at a share of a course's pieces, and the direction there."""
    piece = min(int(share * (len(course) - 1)), len(course) - 2)
    rest = share * (len(course) - 1) - piece
    start, end = np.array(course[piece]), np.array(course[piece + 1])
    direction = end - start
    return start + rest * direction, direction / math.sqrt(float((direction**2).sum()))


def arterial_calcification(finding: Finding, build: Thorax, rng: np.random.Generator) -> Painter:
    """Plaques in the wall of the aortic arch and the descending aorta."""
    places = []
    for _ in range((7, 11, 15)[GRADE[finding.severity]]):
        centre, direction = _along(ARCH[3:10], float(rng.random() ** 1.3))
        out = np.cross(direction, rng.standard_normal(3))
        out *= 11.5 / math.sqrt(float((out**2).sum()))
        x, y, z = (centre + out).tolist()
        places.append(((x, y, z), float(rng.uniform(3.5, 6.0)), float(rng.uniform(700, 1200))))
    return _plaques(places, finding.name)


def coronary_calcification(finding: Finding, build: Thorax, rng: np.random.Generator) -> Painter:
    """Plaques along the coronary arteries, most on the left anterior descending one."""
    places = []
    for number in range((5, 8, 11)[GRADE[finding.severity]]):
        course = CORONARIES[(0, 0, 2, 0, 1, 0, 2, 1, 0, 2, 1)[number]]
        spot, _ = _along(list(course), float(rng.random()) * 0.9)
        spot *= 1.04 / math.sqrt(float((spot**2).sum()))
        spot *= np.array(build.heart_radii())
        x, y, z = (
            np.array(build.heart_centre) + (spot[:, None] * build.heart_axes).sum(0)
        ).tolist()
        places.append(((x, y, z), float(rng.uniform(3.0, 5.5)), float(rng.uniform(700, 1200))))
    return _plaques(places, finding.name)


def hiatal_hernia(finding: Finding, build: Thorax, rng: np.random.Generator) -> Painter:
    """A part of the stomach behind the heart, with gas in front and its content below."""
    radius = 0.5 * (finding.size_mm or 40.0)
    x = -8.0 - 0.25 * radius + 4 * float(rng.standard_normal())
    z = min(build.domes.values()) + 0.55 * radius
    centre = (x, -36.0 + 0.15 * radius, z)
    content = float(rng.uniform(-10, 35))

    def paint(canvas: Canvas) -> None:
        r = canvas.least_radius(radius)
        sac = ellipsoid(canvas, centre, (1.1 * r, 0.95 * r, r))
        if sac is None:
            return
        canvas.paint(*sac, 40)
        canvas.mark(*sac, NUMBER["Hiatal hernia"])
        inner = max(r - 4.0, 0.7 * r)
        hollow = ellipsoid(canvas, centre, (1.1 * inner, 0.95 * inner, inner))
        if hollow is not None:
            canvas.paint(*hollow, content)
            gas = canvas.cover(canvas.y[hollow[0]] - np.float32(centre[1] + 0.1 * r))
            canvas.paint(hollow[0], hollow[1] * gas, -850)

    return paint


def lymphadenopathy(finding: Finding, build: Thorax, rng: np.random.Generator) -> Painter:
    """Swollen nodes: ovals of soft tissue beside the windpipe, below its fork, or at the hilum."""
    sign = SIGN.get(str(finding.side), 0.0)
    first = {
        "paratracheal": np.array([sign * 21, 2 if sign > 0 else -6, 66 if sign > 0 else 40.0]),
        "subcarinal": np.array([4, -20, 22.0]),
        "hilar": np.array([sign * 46, -16, 8.0]),
    }[finding.kind]
    size = finding.size_mm or 15.0
    nodes = []
    for number in range(finding.count):
        share = 1.0 if number == 0 else float(rng.uniform(0.7, 0.95))
        step = rng.normal(0, 1, 3) * np.array([0.3, 0.5, 1.0])
        place = first + step * size * (0.25 if number == 0 else 0.75)
        if sign:
            place[0] = sign * max(sign * place[0], 15 + 0.2 * size)
        x, y, z = place.tolist()
        nodes.append(((x, y, z), 0.5 * size * share, float(rng.uniform(1.3, 1.7))))

    def paint(canvas: Canvas) -> None:
        for place, radius, longer in nodes:
            r = canvas.least_radius(radius)
            part = ellipsoid(canvas, place, (r, r, r * longer))
            if part is not None:
                canvas.paint(*part, 60)
                canvas.mark(*part, NUMBER["Lymphadenopathy"])

    return paint


def _wire(canvas: Canvas, points: list[Point], radius: float) -> None:
    """Metal thread; on a coarse grid thicker and less bright, as its streaks make it."""
    drawn = canvas.least_radius(radius)
    for start, end in pairwise(points):
        part = tube(canvas, start, end, drawn)
        if part is not None:
            canvas.paint(*part, 100 + 2900 * math.sqrt(radius / drawn))
            canvas.mark(*part, NUMBER["Medical material"])


def medical_material(finding: Finding, build: Thorax, rng: np.random.Generator) -> Painter:
    """A pacemaker with its lead, a port with its catheter, or wires in the breastbone."""
    sign = SIGN.get(str(finding.side), 1.0)
    front = 88 * build.depth + 0.35 * build.fat_mm
    cava: list[Point] = [(22, 14, 90), (23, 14, 40), (24, 14, -8)]
    if finding.kind == "sternal wires":
        rows = [float(z) for z in np.linspace(78, -32, 6) + rng.normal(0, 2, 6)]

        def paint_wires(canvas: Canvas) -> None:
            y = 91 * build.depth
            for z in rows:
                _wire(canvas, [(-11, y + 5, z - 3), (11, y + 5, z + 3)], 2.0)
                _wire(canvas, [(-11, y + 5, z - 3), (-10, y - 6, z)], 1.2)
                _wire(canvas, [(11, y + 5, z + 3), (10, y - 6, z)], 1.2)

        return paint_wires

    pacemaker = finding.kind == "pacemaker"
    x, z = sign * float(rng.uniform(72, 84)), float(rng.uniform(66, 84))
    centre: Point = (x, front - 10, z)
    heart = np.array(build.heart_centre)
    apex = (heart + build.heart_axes[0] * 30 * build.heart + build.heart_axes[1] * 18).tolist()
    entry: list[Point] = [centre, (sign * 62, 58, 104), (sign * 34, 30, 106), *cava]
    lead = [*entry, (float(apex[0]), float(apex[1]), float(apex[2]))] if pacemaker else entry

    def paint(canvas: Canvas) -> None:
        _wire(canvas, lead, 1.5)
        size = (27.0, 8.0, 24.0) if pacemaker else (16.0, 9.0, 16.0)
        radii = (size[0], canvas.least_radius(size[1]), size[2])
        part = ellipsoid(canvas, centre, radii)
        if part is not None:
            canvas.paint(*part, 2800)
            canvas.mark(*part, NUMBER["Medical material"])

    return paint
