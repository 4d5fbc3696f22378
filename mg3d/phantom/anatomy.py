"""A healthy thorax in HU, painted from the outside in: wall, belly, bones, heart, airways, lungs.

Order matters: what is painted later covers what was there. The lungs come last of the large organs,
and the distance into them is kept, since most findings are placed by it.
"""

import numpy as np

from mg3d.phantom.canvas import EVERYWHERE, Canvas, LungField, Point, path, tube
from mg3d.phantom.chest_wall import (
    AIR,
    FAT,
    WATER,
    paint_belly,
    paint_bones,
    paint_wall,
    ramp,
    spine_y,
)
from mg3d.phantom.thorax import SIGN, Thorax

ARCH: list[Point] = [  # aorta: root, ascending part, arch, descending part
    (6, 18, -14),
    (15, 28, 8),
    (15, 28, 34),
    (9, 18, 54),
    (-6, -8, 62),
    (-16, -32, 54),
    (-19, -42, 34),
    (-18, -42, 0),
    (-15, -42, -60),
    (-8, -42, -110),
    (-4, -40, -190),
]


def paint_thorax(canvas: Canvas, build: Thorax) -> None:
    """Paint the healthy thorax and leave `canvas.lungs` for the findings."""
    cage = paint_wall(canvas, build)
    paint_belly(canvas, build, cage)
    paint_bones(canvas, build, cage)
    medial = _paint_mediastinum(canvas, build)
    _paint_heart(canvas, build, medial)
    _paint_great_vessels(canvas, build)
    for side in ("right", "left"):
        _paint_lung(canvas, build, side, medial)
    _paint_airways(canvas)
    _paint_vessels(canvas, build)


def _paint_mediastinum(canvas: Canvas, build: Thorax) -> np.ndarray:
    """The fat between the lungs; returns the distance into what the lungs have to spare."""
    f, level = np.float32, canvas.level
    low = ramp(-level, -20, 60)
    top = ramp(level, 60, 60)
    half = f(31) - f(7) * low - f(4) * top
    v = (canvas.y - f(6)) * f(1 / 66)
    middle = (f(1) - np.sqrt((canvas.x / half) ** 2 + v * v)) * half
    forward = spine_y(canvas, EVERYWHERE)
    spine = f(20) - np.sqrt(canvas.x * canvas.x * f(0.8) + forward * forward)
    behind = np.minimum(f(22) - np.abs(canvas.x), -(forward - f(5)))
    beside = canvas.x + f(17), canvas.y + f(41)  # the descending aorta lies left of the spine
    aorta = f(15) - np.sqrt(beside[0] * beside[0] + beside[1] * beside[1])
    aorta = np.minimum(aorta, f(72) - canvas.z)
    medial = np.maximum(np.maximum(middle, aorta), np.maximum(spine, behind))
    fat = np.minimum(middle, np.minimum(canvas.z + f(78), f(122) - canvas.z))
    canvas.paint(EVERYWHERE, canvas.cover(fat), FAT)
    return medial


def _paint_heart(canvas: Canvas, build: Thorax, medial: np.ndarray) -> None:
    """Sac, fat, muscle and chambers."""
    radii, axes = build.heart_radii(), build.heart_axes
    rim, fluid_mm = 4.0, build.effusion_mm  # fat on either side of the sac, what is in the sac
    reach = max(radii) + 2 * rim + fluid_mm
    box = canvas.box(build.heart_centre, (reach, reach, reach))
    if box is None:
        return
    f = np.float32
    offset = [
        grid[box] - f(c)
        for grid, c in zip((canvas.x, canvas.y, canvas.z), build.heart_centre, strict=True)
    ]
    turned = [f(a) * offset[0] + f(b) * offset[1] + f(c) * offset[2] for a, b, c in axes]
    total = sum((t * f(1 / r)) ** 2 for t, r in zip(turned, radii, strict=True))
    distance = np.sqrt(total)
    scale = f((radii[0] * radii[1] * radii[2]) ** (1 / 3))
    inside = (1 - distance) * scale
    # The heart lies on the diaphragm: nothing of it reaches far below.
    floor = canvas.z[box] - f(min(build.domes.values()) - 26)
    sac = np.minimum(inside + f(rim + fluid_mm), floor + f(rim))
    inside = np.minimum(inside, floor)
    medial[box] = np.maximum(medial[box], sac + f(rim))
    canvas.paint(box, canvas.cover(sac + f(rim)), FAT)
    if fluid_mm:
        fluid = canvas.cover(sac)
        canvas.paint(box, fluid, WATER)
        muscle_and_fat = canvas.cover(inside + f(rim))
        canvas.paint(box, muscle_and_fat, FAT)
        canvas.fluid = (box, fluid * (1 - muscle_and_fat))
    canvas.heart = (box, canvas.cover(inside))
    muscle = 45.0 if build.blood_hu < 100 else 100.0
    canvas.paint(*canvas.heart, muscle)
    grow = build.heart
    for along, front, up, size, hu in (
        (14, -12, -4, (34, 17, 19), build.blood_hu),  # left ventricle
        (8, 24, -8, (36, 13, 22), 0.9 * build.blood_hu),  # right ventricle
        (-34, -14, 6, (20, 18, 22), build.blood_hu),  # left atrium
        (-36, 16, 2, (20, 18, 24), 0.9 * build.blood_hu),  # right atrium
    ):
        parts = [along * grow, front * grow, up * grow]
        total = sum(
            ((t - f(p)) * f(1 / (s * grow))) ** 2
            for t, p, s in zip(turned, parts, size, strict=True)
        )
        canvas.paint(box, canvas.cover((1 - np.sqrt(total)) * f(20 * grow)), f(hu))


def _paint_great_vessels(canvas: Canvas, build: Thorax) -> None:
    """Aorta, pulmonary arteries, caval veins, vessels of the neck; oesophagus."""
    blood = build.blood_hu
    path(canvas, ARCH[:4], 15.5, blood)
    path(canvas, ARCH[3:], 12.5, blood)
    path(canvas, [(-12, 38, -8), (-12, 32, 16), (-10, 16, 26)], 13.5, blood * 1.05)
    path(canvas, [(-10, 16, 22), (10, 6, 14), (38, -6, 6)], 10, blood * 1.05)
    path(canvas, [(-10, 16, 22), (-30, -8, 16), (-40, -16, 10)], 10, blood * 1.05)
    path(canvas, [(22, 14, -20), (24, 14, 30), (22, 14, 76), (36, 22, 112)], 9, blood)
    path(canvas, [(22, 16, 76), (-12, 34, 84), (-36, 22, 112)], 7, blood)
    path(canvas, [(26, 2, -40), (24, -2, -100)], 11, blood)
    path(canvas, [(4, 14, 56), (14, 6, 90), (24, 2, 130)], 6, blood)
    path(canvas, [(-6, 4, 60), (-14, -2, 92), (-20, 0, 150)], 5, blood)
    path(canvas, [(-14, -14, 60), (-26, -14, 96), (-40, -4, 126)], 5, blood)
    path(canvas, [(-4, -26, 170), (-4, -28, 60), (-4, -34, -20), (-10, -28, -100)], 7, 40)


def _paint_airways(canvas: Canvas) -> None:
    """Windpipe and main bronchi: a wall, then the air."""
    trachea: list[Point] = [(0, -4, 190), (1, -10, 90), (2, -15, 44)]
    right: list[Point] = [(2, -15, 44), (20, -18, 28), (36, -20, 14)]
    left: list[Point] = [(2, -15, 44), (-22, -21, 24), (-40, -24, 14)]
    for points, radius in ((trachea, 9.0), (right, 7.0), (left, 6.5)):
        path(canvas, points, radius + 1.5, 30)
    for points, radius in ((trachea, 9.0), (right, 7.0), (left, 6.5)):
        path(canvas, points, radius, AIR)


def _paint_lung(canvas: Canvas, build: Thorax, side: str, medial: np.ndarray) -> None:
    """One lung: air with a little tissue, denser towards the back; keeps its field."""
    box = canvas.box((SIGN[side] * 68 * build.width, -5, -5), (75 * build.width, 95, 140))
    if box is None:
        return
    f = np.float32
    x, y, z = canvas.x[box], canvas.y[box], canvas.z[box]
    depth = build.lung_depth(side, x, y, z, canvas.level[box[0]])
    np.minimum(depth, -medial[box], out=depth)
    cover = canvas.cover(depth)
    hu = f(build.lung_hu) - f(0.22) * y
    for a, b, c, phase, height in build.texture.astype(np.float32):
        hu += height * np.sin(a * x + b * y + c * z + phase)
    canvas.paint(box, cover, hu)
    canvas.lungs[side] = LungField(box, depth, cover)


def _paint_vessels(canvas: Canvas, build: Thorax) -> None:
    """The lung's vessels, and air in the larger bronchi beside them."""
    thin = 0.55 * canvas.edge_mm
    hu = max(30.0, 0.6 * build.blood_hu)
    for start, end, radius in build.vessels:
        if radius < 0.18 * canvas.edge_mm:
            continue  # under a tenth of a voxel's area: nothing to see
        part = tube(canvas, start, end, radius, thin=thin)
        if part is not None:
            canvas.paint(*part, hu)
    for start, end, radius in build.bronchi:
        if radius < 0.3 * canvas.edge_mm:
            continue
        wall = tube(canvas, start, end, radius + 0.8)
        if wall is not None:
            canvas.paint(*wall, -450)
        lumen = tube(canvas, start, end, radius)
        if lumen is not None:
            canvas.paint(*lumen, -950)
