"""A healthy thorax in HU, painted from the outside in: wall, belly, bones, heart, airways, lungs.

Order matters: what is painted later covers what was there. The lungs come last of the large organs,
and the distance into them is kept, since most findings are placed by it.
"""

import numpy as np

from mg3d.phantom.canvas import EVERYWHERE, Box, Canvas, LungField, Point, ellipsoid, path, tube
from mg3d.phantom.thorax import SIGN, Thorax

AIR, FAT, MUSCLE, LIVER, WATER = -1000.0, -105.0, 50.0, 58.0, 10.0

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
    cage = _paint_wall(canvas, build)
    _paint_belly(canvas, build, cage)
    _paint_bones(canvas, build, cage)
    medial = _paint_mediastinum(canvas, build)
    _paint_heart(canvas, build, medial)
    _paint_great_vessels(canvas, build)
    for side in ("right", "left"):
        _paint_lung(canvas, build, side, medial)
    _paint_airways(canvas)
    _paint_vessels(canvas, build)


def _ramp(values: np.ndarray, start: float, width: float) -> np.ndarray:
    """0 below `start`, 1 from `start + width` on, straight between."""
    return np.clip((values - np.float32(start)) * np.float32(1 / width), 0, 1)


def _paint_wall(canvas: Canvas, build: Thorax) -> np.ndarray:
    """Skin, fat and muscle; returns the distance into the rib cage."""
    f, x, y, level = np.float32, canvas.x, canvas.y, canvas.level
    high = _ramp(level, 80, 70)  # 0 in the chest, 1 at the shoulders
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
    rise = np.float32(0.98) * _ramp(level, -55, 205)
    profile = np.sqrt(1 - rise * rise)
    cage_x, cage_y = f(136 * build.width) * profile, f(91 * build.depth) * np.sqrt(profile)
    u, v = x / cage_x, (y + f(6) + f(10) * rise) / cage_y
    u *= u
    v *= v
    outline = np.sqrt(np.sqrt(u * u + v * v + f(1.3) * u * v))
    cage = (1 - outline) * (f(0.5) * (cage_x + cage_y))
    canvas.paint(EVERYWHERE, canvas.cover(cage + f(2)), FAT)
    return cage


def _paint_belly(canvas: Canvas, build: Thorax, cage: np.ndarray) -> None:
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


def _paint_bones(canvas: Canvas, build: Thorax, cage: np.ndarray) -> None:
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
    front = _ramp(y, 58, 20)  # cartilage, softer than bone
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
    y = _spine_y(canvas, box)
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


def _spine_y(canvas: Canvas, box: Box) -> np.ndarray:
    """How far in front of the middle of the vertebrae, whose column bulges backwards."""
    bend = canvas.level[box[0]] - np.float32(10)
    return canvas.y[box] + (np.float32(66) - np.float32(0.0005) * bend * bend)


def _paint_mediastinum(canvas: Canvas, build: Thorax) -> np.ndarray:
    """The fat between the lungs; returns the distance into what the lungs have to spare."""
    f, level = np.float32, canvas.level
    low = _ramp(-level, -20, 60)
    top = _ramp(level, 60, 60)
    half = f(31) - f(7) * low - f(4) * top
    v = (canvas.y - f(6)) * f(1 / 66)
    middle = (f(1) - np.sqrt((canvas.x / half) ** 2 + v * v)) * half
    spine_y = _spine_y(canvas, EVERYWHERE)
    spine = f(20) - np.sqrt(canvas.x * canvas.x * f(0.8) + spine_y * spine_y)
    behind = np.minimum(f(22) - np.abs(canvas.x), -(spine_y - f(5)))
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
