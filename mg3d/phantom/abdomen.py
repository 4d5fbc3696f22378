"""The upper belly in HU: diaphragm, liver, spleen, stomach with gas, kidneys, fat."""

import numpy as np

from mg3d.phantom.canvas import Box, Canvas, Point, ellipsoid, path, tube
from mg3d.phantom.chest_wall import FAT, MUSCLE, WATER
from mg3d.phantom.surfaces import diaphragm, join, ramp, spine_y
from mg3d.phantom.thorax import Thorax

GAS, BOWEL_WALL = -950.0, 40.0


def paint_belly(canvas: Canvas, build: Thorax, cage: np.ndarray) -> None:
    """What lies below the diaphragm."""
    box = canvas.box((0, 0, -118), (150, 110, 90))
    if box is None:
        return
    x, y, z = canvas.x[box], canvas.y[box], canvas.z[box]
    dome = diaphragm(build, x, y)
    under = np.minimum(dome - z, cage[box])
    canvas.paint(box, canvas.cover(under), MUSCLE)
    canvas.paint(box, canvas.cover(under - 3.2), FAT)
    _paint_kidneys(canvas, build)
    _paint_spleen(canvas, build, box, under)
    _paint_liver(canvas, build, box, under)
    _paint_stomach(canvas, build, box, under)
    _paint_crura(canvas, build)


def _paint_liver(canvas: Canvas, build: Thorax, box: Box, under: np.ndarray) -> None:
    """The right lobe fills the dome; the left one tapers in front of the stomach."""
    x, y, z = canvas.x[box], canvas.y[box], canvas.z[box]
    right = x + 8 + 0.35 * (y + 10) + 0.45 * (z + 92)
    right = np.minimum(right, 46 + 0.9 * (y + 62) + 0.35 * np.abs(x - 55))
    tip = (x + 58) * (1 / 70)  # 0 at the end of the left lobe, 1 where the right one begins
    thick = 40 * np.clip(tip, 0, 1) * (1 - 0.4 * ramp(-z, 95, 70))
    left = np.minimum(thick - np.abs(y - (44 + 12 * (1 - tip))), 60 * tip)
    liver = np.minimum(join(right, left, 10), under - 2.4)
    notch = 9 - np.sqrt((x - 22) ** 2 + (y + 18) ** 2)  # the caval vein runs in its back
    cover = canvas.cover(np.minimum(liver, -notch))
    canvas.paint(box, cover, build.densities.liver)
    vein = build.densities.liver - 9 if build.densities.left_blood < 80 else 120
    inside = np.zeros(canvas.hu.shape, np.float32)
    inside[box] = cover
    ends: tuple[Point, ...] = ((72, -4, -98), (66, 34, -104), (8, 40, -104))
    for end in ends:
        part = tube(canvas, (24, -10, -78), end, 5.0, 2.0)
        if part is not None:
            canvas.paint(part[0], part[1] * inside[part[0]], vein)


def _paint_spleen(canvas: Canvas, build: Thorax, box: Box, under: np.ndarray) -> None:
    """A crescent along the ribs, behind and to the left."""
    x, y, z = canvas.x[box], canvas.y[box], canvas.z[box]
    w = build.width
    oval = _oval(x, y, z, (-88 * w, -40, -118), (36, 44, 46))
    hollow = _oval(x, y, z, (-56 * w, -8, -124), (38, 44, 60))
    spleen = np.minimum(np.minimum(oval, under - 3.4), -hollow)
    canvas.paint(box, canvas.cover(spleen), build.densities.spleen)


def _paint_stomach(canvas: Canvas, build: Thorax, box: Box, under: np.ndarray) -> None:
    """Fundus below the left dome, body to the front; gas lies in front, as on the back."""
    x, y, z = canvas.x[box], canvas.y[box], canvas.z[box]
    top = build.domes["left"]
    full = build.stomach
    fundus = _oval(x, y, z, (-58, -4, top - 5 - 38 * full), (45 * full, 44 * full, 38 * full))
    body = _oval(x, y, z, (-52, 26, top - 58), (36 * full, 40 * full, 52))
    outside = np.minimum(join(fundus, body, 14), under - 3.4)
    canvas.paint(box, canvas.cover(outside), BOWEL_WALL)
    canvas.paint(box, canvas.cover(outside - 3.5), 22)
    level = 26 + 40 * full - 80 * full * build.stomach_gas
    gas = canvas.cover(np.minimum(outside - 3.5, y - level))
    canvas.paint(box, gas, GAS)
    colon = _oval(x, y, z, (-96 * build.width, 18, top - 62), (24, 26, 30))
    colon = np.minimum(np.minimum(colon, under - 4.5), -outside - 3)
    canvas.paint(box, canvas.cover(colon), BOWEL_WALL)
    canvas.paint(box, canvas.cover(np.minimum(colon - 2.5, y - 10)), GAS)
    canvas.paint(box, canvas.cover(np.minimum(colon - 2.5, 10 - y)), -150)


def _paint_kidneys(canvas: Canvas, build: Thorax) -> None:
    """Upper poles in their fat, the left one higher; adrenal glands above them."""
    for sign, top in ((1.0, -136.0), (-1.0, -124.0)):
        y = float(spine_y(build, np.float32(-150))) - 6
        for radii, hu in (((30.0, 25.0, 56.0), build.densities.kidney), ((11.0, 10.0, 36.0), 5.0)):
            kidney = ellipsoid(canvas, (sign * 54, y, top - 56), radii)
            if kidney is not None:
                canvas.paint(*kidney, hu)
        if sign < 0 and "kidney cyst" in build.incidental:
            cyst = ellipsoid(canvas, (-76.0, y + 4, top - 18), (13.0, 13.0, 13.0))
            if cyst is not None:
                canvas.paint(*cyst, WATER)
        gland = [(sign * 30, y + 22, top + 8), (sign * 38, y + 6, top + 4)]
        path(canvas, gland, 2.6, 30)


def _paint_crura(canvas: Canvas, build: Thorax) -> None:
    """The diaphragm's legs on both sides of the aorta."""
    for sign in (-1.0, 1.0):
        course = []
        for z in (-84.0, -112.0, -150.0, -200.0):
            share = float(ramp(np.float32(-z), 84, 70))
            y = float(spine_y(build, np.float32(z))) + 28 - 10 * share
            course.append((sign * (9 + 8 * share) - 4 * (1 - share), y, z))
        path(canvas, course, 4.2, MUSCLE)


def _oval(x, y, z, centre, radii) -> np.ndarray:
    """Into an ellipsoid, about mm."""
    total = sum(((p - c) * (1 / r)) ** 2 for p, c, r in zip((x, y, z), centre, radii, strict=True))
    return (1 - np.sqrt(total)) * min(radii)
