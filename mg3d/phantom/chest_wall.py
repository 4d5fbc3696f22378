"""The chest's outside in HU: skin, fat, muscles with fat between them, breasts, arms."""

import numpy as np

from mg3d.phantom.canvas import EVERYWHERE, Canvas, Point, ellipsoid, path
from mg3d.phantom.surfaces import cage, cage_front, ramp, smooth, spine_y
from mg3d.phantom.thorax import Thorax

AIR, FAT, MUSCLE, WATER = -1000.0, -105.0, 52.0, 8.0
SKIN = 25.0


def outline(build: Thorax, x: np.ndarray, y: np.ndarray, level: np.ndarray) -> np.ndarray:
    """Into the body from the skin, mm: round in front, flat behind, broad at the shoulders."""
    high = smooth(ramp(level, 70, 75))  # 0 in the chest, 1 at the shoulders
    neck = smooth(ramp(level, 140, 35))
    half_x = 147 * build.width + build.fat_mm + 34 * high - 20 * neck
    front = cage_front(build, level) + 15 + 0.9 * build.fat_mm + 4 * high - 6 * neck
    back = 0.55 * spine_y(build, level) - 0.45 * 56 - 62 - 0.4 * build.fat_mm + 17 * high
    furrow = 5 * (1 - high) * np.exp(-x * x * np.float32(1 / 400))  # over the spine
    back = back + furrow
    middle, half_y = 0.5 * (front + back), 0.5 * (front - back)
    forward = y - middle
    u, v = x * (1 / half_x), forward * (1 / half_y)
    u *= u
    v *= v
    mix = np.where(forward < 0, np.float32(0.45), np.float32(1.25))
    outside = np.sqrt(np.sqrt(u * u + v * v + mix * u * v)) + 1e-4
    radius = np.sqrt(x * x + forward * forward)
    return radius * (1 / outside - 1) + _bulk(build, x, y, level, 1 - high)


def _bulk(
    build: Thorax, x: np.ndarray, y: np.ndarray, level: np.ndarray, chest: np.ndarray
) -> np.ndarray:
    """By how much the wall is thicker than average, mm: muscles before and beside the chest."""
    aside = np.abs(x)
    breast_muscle = np.clip(1 - ((aside - 74) * np.float32(1 / 52)) ** 2, 0, 1)
    breast_muscle = breast_muscle * ramp(y, 5, 45) * (ramp(level, -12, 60) * chest)
    broadest = np.clip(1 - ((y + 34) * np.float32(1 / 46)) ** 2, 0, 1) * ramp(aside, 70, 40)
    broadest = broadest * (ramp(level, -70, 110) * chest)
    flank = np.clip(1 - ((y - 18) * np.float32(1 / 40)) ** 2, 0, 1) * ramp(aside, 80, 40)
    return build.bulk * (9 * breast_muscle + 10 * broadest) - flank * (2.5 * chest)


def paint_wall(canvas: Canvas, build: Thorax) -> np.ndarray:
    """Skin, fat and muscle; returns the distance into the rib cage."""
    x, y, level = canvas.x, canvas.y, canvas.level
    body = outline(build, x, y, level)
    inside = cage(build, x, y, level)
    _paint_arms(canvas, build)
    canvas.paint(EVERYWHERE, canvas.cover(body), SKIN)
    fat = body - 2.0
    canvas.paint(EVERYWHERE, canvas.cover(fat), FAT)
    _paint_breasts(canvas, build)
    # Fat is thicker at the flanks and below than along the spine and before the muscles; it lies
    # in folds.
    low, (a, b, c) = ramp(-level, -60, 120), build.folds.tolist()
    folds = np.sin(0.031 * x + a) * np.sin(0.038 * y + b) + 0.5 * np.sin(0.055 * level + c)
    thick = build.fat_mm * (0.6 + (0.3 + 0.35 * low) * ramp(np.abs(x), 40, 70) + 0.16 * folds)
    muscle = body - thick
    canvas.paint(EVERYWHERE, canvas.cover(muscle), build.densities.muscle)
    # Fat between the muscles: round the rib cage, and between the layers of the shoulder.
    _paint_muscle_fat(canvas, inside, muscle)
    _paint_shoulder_fat(canvas, inside, muscle)
    for sign in (-1, 1):
        for centre, radii in (((122, 14, 84), (15, 24, 46)), ((136, -4, 116), (18, 22, 30))):
            armpit = ellipsoid(canvas, (sign * centre[0] * build.width, *centre[1:]), radii)
            if armpit is not None:
                box, cover = armpit
                canvas.paint(box, cover * canvas.cover(-12 - inside[box]) * (muscle[box] > 4), FAT)
        vessel = [(84, 20, 112), (122, 8, 104), (142, 2, 120), (158, 2, 168)]
        path(canvas, [(sign * a, b, c) for a, b, c in vessel], 4.5, build.densities.left_blood)
    canvas.paint(EVERYWHERE, canvas.cover(inside + 0.7), FAT)
    return inside


def paint_neck(canvas: Canvas, build: Thorax, inside: np.ndarray) -> None:
    """Above the lungs' tops: muscles along the spine and in front, thyroid gland, some fat."""
    box = canvas.box((0, -20, 150), (75, 60, 45))
    if box is None:
        return
    x, y, level = canvas.x[box], canvas.y[box], canvas.level[box[0]]
    spine = spine_y(build, level)
    within = canvas.cover(inside[box] + 0.7) * ramp(level, 106, 18)
    round_ = 22 - np.sqrt(x * x * 0.5 + (y - spine) ** 2)  # along the spine
    aside = np.abs(x)
    scalene = 13 - np.sqrt((aside - 36) ** 2 + 0.6 * (y - spine - 22) ** 2)
    core = 22 - np.sqrt(0.8 * x * x + (y - spine - 36) ** 2)  # vessels and fat round the windpipe
    muscle = np.maximum(np.maximum(round_, scalene), -core)
    canvas.paint(box, canvas.cover(muscle) * within, build.densities.muscle)
    thyroid = 130.0 if build.densities.left_blood > 80 else 95.0
    for sign in (-1, 1):
        part = ellipsoid(canvas, (sign * 17.0, 2.0, 146.0), (9.0, 11.0, 22.0))
        if part is not None:
            canvas.paint(*part, thyroid)
    if "thyroid lesion" in build.incidental:
        lesion = ellipsoid(canvas, (-18.0, 3.0, 144.0), (6.0, 7.0, 9.0))
        if lesion is not None:
            canvas.paint(*lesion, 25)


def _paint_muscle_fat(canvas: Canvas, inside: np.ndarray, muscle: np.ndarray) -> None:
    """Sheets of fat between the layers of muscle along the ribs, uneven as they are."""
    box = canvas.box((0, 0, 36), (200, 130, 80))
    if box is None:
        return
    x, y, z = canvas.x[box], canvas.y[box], canvas.z[box]
    level = canvas.level[box[0]]
    beside = ramp(level, -40, 90) * (1 - ramp(level, 96, 18)) * smooth(ramp(np.abs(x), 30, 40))
    beside = beside * (muscle[box] > 3)
    wave = np.sin(0.031 * x + 0.043 * z + 1.0) + np.sin(0.047 * y - 0.029 * z)
    for depth, half, turn in ((16.0, 0.8, 1.0), (30.0, 0.4, -1.0)):
        gap = np.abs(inside[box] + (depth + 2.5 * turn * wave)) - half * (1 + turn * wave)
        canvas.paint(box, canvas.cover(-gap) * beside, FAT)


def _paint_shoulder_fat(canvas: Canvas, inside: np.ndarray, muscle: np.ndarray) -> None:
    """Round the shoulder joints the planes between muscles run in all directions."""
    box = canvas.box((0, -10, 128), (200, 110, 56))
    if box is None:
        return
    x, y, z = np.abs(canvas.x[box]), canvas.y[box], canvas.z[box]
    plane = np.sin(0.078 * x + 0.061 * y + 0.4) + np.sin(0.066 * y - 0.052 * z - 0.023 * x)
    plane += 0.7 * np.sin(0.055 * x - 0.09 * y + 0.031 * z + 2.0)
    thin = 0.10 * ramp(canvas.level[box[0]], 86, 20)
    sheet = canvas.cover((thin - np.abs(plane)) * 11)  # the field changes by about 0.09 a mm
    outer = np.minimum(-inside[box] - 12, muscle[box] - 3)
    canvas.paint(box, sheet * canvas.cover(outer) * (thin > 0.01), FAT)


def breast(build: Thorax, sign: int) -> tuple[Point, Point]:
    """Centre and radii of a breast, mm; `sign` is 1 on the right, -1 on the left."""
    size, front = build.breast, 66 * build.depth + 12
    radii = 54 * size, 14 + (14 + 0.5 * build.fat_mm) * size, 50 * size
    return (sign * 74 * build.width, front, 8.0), radii


def _paint_breasts(canvas: Canvas, build: Thorax) -> None:
    """Fat with a core of gland, flattened as on the back; gland shrinks with age."""
    if not build.female:
        return
    size = build.breast
    for sign in (-1, 1):
        centre, (x, y, z) = breast(build, sign)
        skin = ellipsoid(canvas, centre, (x, y, z))
        if skin is None:
            continue
        box, cover = skin
        canvas.paint(box, cover * (canvas.hu[box] < -150), SKIN)
        inner_centre = (centre[0], centre[1] - 2, centre[2])
        inner = ellipsoid(canvas, inner_centre, (x - 2, y - 2, z - 2))
        if inner is not None:
            canvas.paint(inner[0], inner[1], FAT)
        gland_size = size * (0.75 - 0.004 * build.age)
        gland = ellipsoid(
            canvas,
            (centre[0], centre[1] + 8 * size, 6),
            (36 * gland_size, 16 * gland_size, 34 * gland_size),
        )
        if gland is not None:
            canvas.paint(gland[0], gland[1] * 0.75, 30)


def _paint_arms(canvas: Canvas, build: Thorax) -> None:
    """Arms that leave the body: raised beside the head, or beside the chest and mostly cut off."""
    for sign in (-1, 1):
        x = sign * (147 * build.width + build.fat_mm + 40)
        course = [(sign * 172.0, -14.0, 150.0), (x, -24.0, 60.0), (x, -20.0, -220.0)]
        if build.arms == "up":
            course = [(sign * 136.0, -13.0, 128.0), (sign * 176.0, -10.0, 230.0)]
        muscle = 43 - 0.5 * build.fat_mm, build.densities.muscle
        for radius, hu in ((45.0, SKIN), (43.0, FAT), muscle):
            path(canvas, course, radius, hu)
        if build.arms == "down":
            path(canvas, course, 11, build.densities.cortex)
            path(canvas, course, 7, build.densities.marrow * 0.3)
