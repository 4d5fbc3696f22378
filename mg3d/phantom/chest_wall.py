"""The chest's outside and frame in HU: skin, fat, muscle, the belly's organs, bones."""

import numpy as np

from mg3d.phantom.canvas import EVERYWHERE, Box, Canvas, ellipsoid, path
from mg3d.phantom.thorax import Thorax

AIR, FAT, MUSCLE, LIVER, WATER = -1000.0, -105.0, 50.0, 58.0, 10.0


def ramp(values: np.ndarray, start: float, width: float) -> np.ndarray:
    """0 below `start`, 1 from `start + width` on, straight between."""
    return np.clip((values - np.float32(start)) * np.float32(1 / width), 0, 1)


def spine_y(canvas: Canvas, box: Box) -> np.ndarray:
    """How far in front of the middle of the vertebrae, whose column bulges backwards."""
    bend = canvas.level[box[0]] - np.float32(10)
    return canvas.y[box] + (np.float32(66) - np.float32(0.0005) * bend * bend)


def paint_wall(canvas: Canvas, build: Thorax) -> np.ndarray:
    """Skin, fat and muscle; returns the distance into the rib cage."""
    f, x, y, level = np.float32, canvas.x, canvas.y, canvas.level
    high = ramp(level, 80, 70)  # 0 in the chest, 1 at the shoulders
    high = high * high * (3 - 2 * high)
    half_x = f(150 * build.width + build.fat_mm) + f(34) * high
    half_y = f(98 * build.depth + 0.7 * build.fat_mm) - f(18) * high
    u, v = x / half_x, (y + f(4) + f(8) * high) / half_y
    u *= u
    v *= v
    outline = np.sqrt(np.sqrt(u * u + v * v + f(1.0) * u * v))
    body = (1 - outline) * (f(0.5) * (half_x + half_y))
    canvas.paint(EVERYWHERE, canvas.cover(body), FAT)
    canvas.paint(EVERYWHERE, canvas.cover(body - f(0.8 * build.fat_mm)), MUSCLE)
    for sign in (-1, 1):
        armpit = ellipsoid(canvas, (sign * 138 * build.width, 2, 88), (16, 34, 42))
        if armpit:
            canvas.paint(*armpit, FAT)
        breast = ellipsoid(
            canvas, (sign * 72, 96 * build.depth, 2), (52, 18 + build.fat_mm * 0.6, 50)
        )
        if build.female and breast:
            box, cover = breast
            canvas.paint(box, cover * canvas.cover(f(12) + y[box] - f(88 * build.depth)), FAT)
            gland = ellipsoid(canvas, (sign * 72, 96 * build.depth, 0), (26, 9, 26))
            if gland:
                canvas.paint(gland[0], gland[1] * f(0.6), 10)
    rise = np.float32(0.98) * ramp(level, -55, 205)
    profile = np.sqrt(1 - rise * rise)
    cage_x, cage_y = f(136 * build.width) * profile, f(91 * build.depth) * np.sqrt(profile)
    u, v = x / cage_x, (y + f(6) + f(10) * rise) / cage_y
    u *= u
    v *= v
    outline = np.sqrt(np.sqrt(u * u + v * v + f(1.3) * u * v))
    cage = (1 - outline) * (f(0.5) * (cage_x + cage_y))
    canvas.paint(EVERYWHERE, canvas.cover(cage + f(2)), FAT)
    return cage


def paint_belly(canvas: Canvas, build: Thorax, cage: np.ndarray) -> None:
    """Liver, spleen and stomach below the diaphragm."""
    box = canvas.box((0, 0, -150), (150, 110, 130))
    if box is None:
        return
    x, y, z = canvas.x[box], canvas.y[box], canvas.z[box]
    f = np.float32
    under = np.minimum(build.dome("right", x, y) - z, cage[box] - f(2))
    edge = (x + f(38)) * f(0.7) + (y - f(10)) * f(0.25)  # the left lobe ends left of the spine
    canvas.paint(box, canvas.cover(np.minimum(under, edge)), LIVER)
    left = np.minimum(build.dome("left", x, y) - z, cage[box] - f(2))
    inside = canvas.cover(left)
    spleen = ellipsoid(canvas, (-92 * build.width, -34, -128), (30, 42, 46))
    stomach = ellipsoid(canvas, (-62, 22, build.domes["left"] - 42), (44, 40, 38))
    for organ, hu in ((spleen, 50.0), (stomach, 28.0)):
        if organ:
            clip = _part(inside, box, organ[0])
            canvas.paint(organ[0], organ[1] * clip, hu)
    if stomach:  # gas rises to the front of a patient lying on the back
        gas = canvas.cover(canvas.y[stomach[0]] - f(30))
        canvas.paint(stomach[0], stomach[1] * gas * _part(inside, box, stomach[0]), -900)


def _part(values: np.ndarray, box: Box, inner: Box) -> np.ndarray:
    """The values of `box` on `inner`; 0 where that reaches beyond."""
    found = np.zeros([s.stop - s.start for s in inner], np.float32)
    low = [max(a.start, b.start) for a, b in zip(box, inner, strict=True)]
    high = [min(a.stop, b.stop) for a, b in zip(box, inner, strict=True)]
    if all(a < b for a, b in zip(low, high, strict=True)):
        target = tuple(slice(a - s.start, b - s.start) for a, b, s in zip(low, high, inner))  # noqa: B905
        source = tuple(slice(a - s.start, b - s.start) for a, b, s in zip(low, high, box))  # noqa: B905
        found[target] = values[source]
    return found


def paint_bones(canvas: Canvas, build: Thorax, cage: np.ndarray) -> None:
    """Ribs, breastbone, shoulder blades, collar bones, spine."""
    f, y, z = np.float32, canvas.y, canvas.z
    bone = f(build.bone_hu)
    # Ribs: rods on the cage's outside, falling towards the front, 27 mm apart.
    phase = (z + f(0.42) * y + f(200)) * f(1 / 27)
    phase -= np.floor(phase)
    gap = (phase - f(0.5)) * f(27)
    out = cage + f(6)
    rod = f(5.5) - np.sqrt(gap * gap + out * out)
    rod = np.minimum(rod, f(150) - z - f(0.3) * y)
    front = ramp(y, 58, 20)  # cartilage, softer than bone
    canvas.paint(EVERYWHERE, canvas.cover(rod), (bone + f(230)) - front * (bone + f(110)))
    _paint_spine(canvas, build)
    front_y = 91 * build.depth
    sternum = ellipsoid(canvas, (0, front_y - 1, 22), (20, 8, 72))
    if sternum:
        canvas.paint(*sternum, bone + f(60))
    for sign in (-1, 1):
        side = sign * build.width
        turn = np.array([[0.8, -0.6 * sign, 0], [0.6 * sign, 0.8, 0], [0, 0, 1.0]])
        blade = ellipsoid(canvas, (side * 104, -78 * build.depth, 72), (38, 5, 56), turn)
        if blade:
            canvas.paint(*blade, bone + f(120))
        path(
            canvas,
            [(side * 24, 72, 112), (side * 70, 66, 124), (side * 128, 20, 142)],
            7,
            float(bone) + 250,
        )
        head = ellipsoid(canvas, (side * 158, -8, 146), (25, 25, 25))
        if head:
            canvas.paint(*head, bone + f(40))


def _paint_spine(canvas: Canvas, build: Thorax) -> None:
    """Vertebrae, discs between them, canal and spinous processes."""
    box = canvas.box((0, -78, 0), (40, 45, 260))
    if box is None:
        return
    f = np.float32
    x, z = canvas.x[box], canvas.z[box]
    y = spine_y(canvas, box)
    phase = z * f(1 / 25)
    phase -= np.floor(phase)
    disc = canvas.cover(f(2.5) - np.abs(phase - f(0.5)) * f(25))
    body = np.sqrt(x * x * f(0.8) + y * y)
    cover = canvas.cover(f(18) - body)
    canvas.paint(box, cover, (f(build.bone_hu) - disc * f(build.bone_hu - 90)) * f(0.9))
    rim = canvas.cover(f(3) - np.abs(body - f(16)))
    canvas.paint(box, rim * (1 - disc), f(build.bone_hu + 200))
    behind = y + f(25)
    ring = np.sqrt(x * x + behind * behind)
    arch = canvas.cover(f(3.5) - np.abs(ring - f(11)))
    spine = canvas.cover(f(4) - np.abs(x)) * canvas.cover(f(14) - np.abs(y + f(46)))
    wing = canvas.cover(f(4) - np.abs(behind)) * canvas.cover(f(14) - np.abs(np.abs(x) - f(22)))
    level = 1 - canvas.cover(f(4) - np.abs(phase - f(0.5)) * f(25))
    canvas.paint(box, np.maximum(arch, np.maximum(spine, wing) * level), f(build.bone_hu + 180))
    canvas.paint(box, canvas.cover(f(8) - ring), 30)
