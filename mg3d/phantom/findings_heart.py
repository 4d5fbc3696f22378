"""The signs of heart, vessels and mediastinum, and what surgeons left behind."""

import math
from itertools import pairwise

import numpy as np

from mg3d.phantom.canvas import Canvas, Point, ellipsoid, tube
from mg3d.phantom.mediastinum import aorta, heart_point
from mg3d.phantom.patient import Finding
from mg3d.phantom.patterns import GRADE, NUMBER, Ball, Painter, point
from mg3d.phantom.surfaces import SIGN, backbone, cage_front, heart, spine_y
from mg3d.phantom.thorax import Thorax

# Courses of the coronary arteries in the grooves of the heart, in its axes (u, v, w), about mm.
CORONARIES: tuple[tuple[Point, ...], ...] = (
    ((-14, 8, 22), (4, 10, 26), (24, 10, 22), (42, 8, 14)),  # left anterior descending
    ((-14, 4, 22), (-20, -24, 22), (-18, -40, 4), (-14, -38, -14)),  # circumflex
    ((-14, 22, 20), (-20, 38, 8), (-18, 34, -18), (-12, 12, -30)),  # right
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
            r = canvas.least_radius(canvas.widened(radius))
            part = ellipsoid(canvas, place, (r, r, r))
            if part is not None:
                canvas.paint(*part, hu)
                canvas.mark(*part, NUMBER[finding])

    return paint


def _along(course: list[Point], share: float) -> tuple[np.ndarray, np.ndarray, int]:
    """The point at a share of a course's pieces, the direction there, and which piece it is."""
    piece = min(int(share * (len(course) - 1)), len(course) - 2)
    rest = share * (len(course) - 1) - piece
    start, end = np.array(course[piece]), np.array(course[piece + 1])
    direction = end - start
    return start + rest * direction, direction / math.sqrt(float((direction**2).sum())), piece


def arterial_calcification(finding: Finding, build: Thorax, rng: np.random.Generator) -> Painter:
    """Plaques in the wall of the aortic arch and the descending aorta."""
    places = []
    course = aorta(build)[3:14]
    for _ in range((6, 11, 18)[GRADE[finding.severity]]):
        centre, direction, piece = _along(
            [place for place, _ in course], float(rng.random() ** 1.3)
        )
        out = np.cross(direction, rng.standard_normal(3))
        out *= (course[piece][1] - 1.0) / math.sqrt(float((out**2).sum()))
        radius, hu = float(rng.uniform(1.8, 4.8)), float(rng.uniform(500, 1200))
        places.append((point(centre + out), radius, hu))
    return _plaques(places, finding.name)


def coronary_calcification(finding: Finding, build: Thorax, rng: np.random.Generator) -> Painter:
    """Plaques along the coronary arteries, most on the left anterior descending one."""
    places = []
    for number in range((5, 9, 14)[GRADE[finding.severity]]):
        course = CORONARIES[(0, 0, 2, 0, 1, 0, 2, 1, 0, 2, 1, 0, 2, 0)[number]]
        spot, _, _ = _along(list(course), float(rng.random()) * 0.9)
        # Where the ray from the heart's middle leaves the muscle.
        scales = np.linspace(0.4, 1.8, 57)
        depth = heart(build, [float(s) * scales for s in spot])
        spot = spot * scales[int(np.argmin(np.abs(depth + 0.5)))]
        radius, hu = float(rng.uniform(1.6, 4.2)), float(rng.uniform(500, 1200))
        places.append((heart_point(build, *spot.tolist()), radius, hu))
    return _plaques(places, finding.name)


def hernia_sac(finding: Finding, build: Thorax, rng: np.random.Generator) -> Ball:
    """The part of the stomach above the hiatus; its height is what the report measures."""
    radius = 0.5 * (finding.size_mm or 40.0)
    z = 0.5 * (build.domes["left"] + build.domes["right"]) - 10 + 0.7 * radius
    x = -9.0 - 0.3 * radius + 3 * float(rng.standard_normal())
    y = float(spine_y(build, np.float32(z))) + 24 + 0.75 * radius
    return Ball((x, y, z), (0.95 * radius, 0.85 * radius, radius))


def hiatal_hernia(finding: Finding, build: Thorax, rng: np.random.Generator) -> Painter:
    """A part of the stomach behind the heart, with gas in front and its content below."""
    ball = hernia_sac(finding, build, rng)
    content, gas = float(rng.uniform(-10, 35)), float(rng.uniform(-0.1, 0.5))

    def paint(canvas: Canvas) -> None:
        sac, hollow = ball.part(canvas), ball.part(canvas, 3.5)
        for part, hu in ((sac, 40.0), (hollow, content)):
            if part is None:
                continue
            box, cover = part
            place = canvas.x[box], canvas.y[box], canvas.level[box[0]]
            # Spine and aorta do not give way.
            cover = cover * canvas.cover(1 - backbone(build, *place))
            canvas.paint(box, cover, hu)
            if part is sac:
                canvas.mark(box, cover, NUMBER["Hiatal hernia"])
            else:
                level = canvas.y[box] - (ball.centre[1] - gas * ball.radii[1])
                canvas.paint(box, cover * canvas.cover(level), -900)

    return paint


STATIONS: dict[tuple[str, str | None], Point] = {
    ("paratracheal", "right"): (17.0, -10.0, 66.0),
    ("paratracheal", "left"): (-16.0, -16.0, 84.0),
    ("subcarinal", None): (4.0, -20.0, 28.0),
    ("hilar", "right"): (50.0, -16.0, 14.0),
    ("hilar", "left"): (-50.0, -16.0, 14.0),
}


def lymph_nodes(finding: Finding, build: Thorax, rng: np.random.Generator) -> list[Ball]:
    """The nodes of a station; the short axis of the first is what the report measures."""
    first = np.array(STATIONS[finding.kind, finding.side])
    sign, size = SIGN.get(str(finding.side), 0.0), finding.size_mm or 15.0
    balls = []
    for number in range(finding.count):
        share = 1.0 if number == 0 else float(rng.uniform(0.7, 0.95))
        step = rng.normal(0, 1, 3) * np.array([0.3, 0.4, 1.0])
        place = first + step * size * (0.15 if number == 0 else 0.7)
        if sign:
            place[0] = sign * max(sign * place[0], abs(first[0]) - 6 + 0.2 * size)
        radius = 0.5 * size * share
        long = radius * float(rng.uniform(1.25, 1.6))
        balls.append(Ball(point(place), (radius, radius * float(rng.uniform(1, 1.15)), long)))
    return balls


def lymphadenopathy(finding: Finding, build: Thorax, rng: np.random.Generator) -> Painter:
    """Swollen nodes: ovals of soft tissue beside the windpipe, below its fork, or at the hilum."""
    balls = lymph_nodes(finding, build, rng)
    hu = 48.0 if build.densities.left_blood < 80 else 85.0

    def paint(canvas: Canvas) -> None:
        for ball in balls:
            part = ball.part(canvas)
            if part is not None:
                canvas.paint(*part, hu)
                canvas.mark(*part, NUMBER["Lymphadenopathy"])

    return paint


def _wire(canvas: Canvas, points: list[Point], radius: float) -> None:
    """Metal thread; on a coarse grid thicker and less bright, as its streaks make it."""
    drawn = canvas.least_radius(radius)
    for start, end in pairwise(points):
        part = tube(canvas, start, end, drawn)
        if part is not None:
            canvas.paint(*part, 100 + 2900 * (radius / drawn) ** 0.8)
            canvas.mark(*part, NUMBER["Medical material"])


def medical_material(finding: Finding, build: Thorax, rng: np.random.Generator) -> Painter:
    """A pacemaker with its lead, a port with its catheter, or wires in the breastbone."""
    sign = SIGN.get(str(finding.side), 1.0)
    cava: list[Point] = [(21, 12, 78), (22, 6, 50), (23, 8, 22)]
    if finding.kind == "sternal wires":
        rows = [float(z) for z in np.linspace(94, -36, int(rng.integers(4, 8)))]

        def paint_wires(canvas: Canvas) -> None:
            for z in rows:
                y = float(cage_front(build, np.float32(z))) + 7
                z += 3 * math.sin(1.7 * z)  # not quite evenly spaced
                _wire(canvas, [(-11, y + 6, z - 3), (11, y + 6, z + 3)], 2.0)
                _wire(canvas, [(-11, y + 6, z - 3), (-10, y - 7, z)], 1.2)
                _wire(canvas, [(11, y + 6, z + 3), (10, y - 7, z)], 1.2)

        return paint_wires

    pacemaker = finding.kind == "pacemaker"
    bulk = float(rng.uniform(0.8, 1.15))
    x, z = sign * float(rng.uniform(72, 84)), float(rng.uniform(66, 84))
    skin = float(cage_front(build, np.float32(z))) + 15 + 0.9 * build.fat_mm
    centre: Point = (x, skin - 0.0021 * x * x - 0.5 * build.fat_mm - 6, z)
    vein: list[Point] = [(sign * 74, 40, 112), (sign * 36, 12, 108)]
    if sign < 0:
        vein += [(-24, 24, 100), (-6, 31, 87)]
    entry: list[Point] = [centre, *vein, *cava]
    valve, apex = heart_point(build, -22, 22, -8), heart_point(build, 34, 14, -20)
    lead = [*entry, valve, apex] if pacemaker else [*entry, heart_point(build, -36, 18, 20)]

    def paint(canvas: Canvas) -> None:
        _wire(canvas, lead, 1.2)
        size = (22 * bulk, 5.5 * bulk, 20 * bulk) if pacemaker else (12 * bulk, 6 * bulk, 12 * bulk)
        radii = (size[0], canvas.least_radius(size[1]), size[2])
        part = ellipsoid(canvas, centre, radii)
        if part is not None:
            canvas.paint(*part, 2800)
            canvas.mark(*part, NUMBER["Medical material"])

    return paint
