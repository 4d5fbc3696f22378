"""Bones in HU: a bright cortex round marrow; spine, ribs in pairs, breastbone, shoulder girdle."""

import numpy as np

from mg3d.phantom.canvas import Canvas, ellipsoid, path
from mg3d.phantom.surfaces import (
    cage_front,
    ramp,
    spine_x,
    spine_y,
    vertebra_number,
    vertebra_radius,
)
from mg3d.phantom.thorax import Thorax

CORTEX_MM = 1.5
CARTILAGE, CORD, DISC = 115.0, 30.0, 85.0
# How far to the front each rib reaches (y, mm), by its number; the last ones end early.
RIB_ENDS = np.array([99.0] * 8 + [64.0, 52.0, 38.0, -8.0, -48.0], np.float32)


def paint_bones(canvas: Canvas, build: Thorax, cage: np.ndarray) -> None:
    """All bones; `cage` is the distance into the rib cage."""
    _paint_ribs(canvas, build, cage)
    _paint_spine(canvas, build)
    _paint_sternum(canvas, build)
    _paint_shoulders(canvas, build, cage)


def _paint_bone(canvas: Canvas, box, inside: np.ndarray, build: Thorax, hu=None) -> None:
    """Cortex, and marrow within; on a coarse grid both blend in a voxel."""
    cortex = build.densities.cortex if hu is None else hu
    canvas.paint(box, canvas.cover(inside), cortex)
    marrow = np.minimum(build.densities.marrow, cortex)
    canvas.paint(box, canvas.cover(inside - CORTEX_MM), marrow)


def _paint_ribs(canvas: Canvas, build: Thorax, cage: np.ndarray) -> None:
    """Rods round the cage, each from its vertebra, falling forwards, then rising as cartilage."""
    out = cage + 6.5
    near = np.flatnonzero(np.abs(out) < 5 + canvas.edge_mm)  # nothing else can hold a rib
    out, (x, y, z) = out.reshape(-1)[near], canvas.place.reshape(3, -1)[:, near]
    levels = near // (canvas.hu.shape[1] * canvas.hu.shape[2])
    front = y - cage_front(build, canvas.level[:, 0, 0])[levels]
    near_front = ramp(front, -32, 24)
    aside = np.abs(x)
    fall = 0.42 * (y + 90) + 0.3 * np.clip(aside - 22, 0, 88)
    fall -= near_front * 0.75 * np.maximum(72 - aside, 0)
    number, height = vertebra_number(build, z + fall)
    number = number + np.float32(0.35)  # a rib's head is at the upper edge of its vertebra
    nearest = np.rint(number)
    gap = (number - nearest) * height
    rod = (1 - np.sqrt((gap * (1 / 6.6)) ** 2 + (out * (1 / 4.2)) ** 2)) * 4.6
    ends = RIB_ENDS[np.clip(nearest, 0, 12).astype(np.int8)]
    rod = np.minimum(rod, np.minimum(ends - y, (nearest - 0.5) * 40))
    rod = np.minimum(rod, np.minimum((12.5 - nearest) * 18, aside - 12))
    bone = near_front < 0.5
    cover = canvas.cover(rod)
    flat = canvas.hu.reshape(-1)
    there = flat[near]
    there += cover * bone * (build.densities.cortex - there)
    there += canvas.cover(rod - CORTEX_MM) * bone * (build.densities.marrow - there)
    cartilage = CARTILAGE + 2.0 * max(build.age - 45, 0)
    there += cover * ~bone * (cartilage - there)
    flat[near] = there


def _paint_spine(canvas: Canvas, build: Thorax) -> None:
    """Vertebral bodies with end plates, discs, canal with the cord, arches and processes."""
    box = canvas.box((0, -66, 0), (48, 62, 290))
    if box is None:
        return
    z, level = canvas.z[box], canvas.level[box[0]]
    x = canvas.x[box] - spine_x(build, level)
    y = canvas.y[box] - spine_y(build, level)
    aside = np.abs(x)
    number, height = vertebra_number(build, z)
    phase = number - np.rint(number)
    gap = np.abs(phase) * height  # from the middle of a vertebra
    half = 0.5 * height
    radius = vertebra_radius(level)
    waist = 1 - 0.1 * (1 - (gap / half) ** 2)
    depth = 0.86 * radius
    round_ = 1 - np.sqrt((x / (radius * waist)) ** 2 + (y / (depth * waist)) ** 2)
    body = np.minimum(round_ * depth, y + 0.86 * depth)
    disc_half = 1.6 + 0.1 * (number - 1)
    canvas.paint(box, canvas.cover(body + 1.0), DISC)
    bone = np.minimum(body, half - disc_half - gap)
    _paint_bone(canvas, box, bone, build, 0.75 * build.densities.cortex)
    if "degenerative spine" in build.incidental:  # osteophytes at the front corners of the bodies
        edge = 4.5 - np.sqrt((half - disc_half - gap - 1) ** 2 + (body - 0.5) ** 2)
        edge = np.minimum(edge, np.minimum(y + 4, half - 1 - gap))
        canvas.paint(box, canvas.cover(edge), 0.7 * build.densities.cortex)
    # The canal lies behind the body; round it the arch, its feet at the upper half of the body.
    canal = y + depth + 8.0
    ring = np.sqrt(x * x * 0.85 + canal * canal)
    upper = np.clip(1.4 - np.abs(phase + 0.14) * 4.2, 0, 1)  # 1 where pedicles are
    plate = np.clip(1.6 - np.abs(phase - 0.02) * 3.6, 0, 1)  # the arches leave gaps between them
    arch = np.minimum(2.6 - np.abs(ring - 10.8), 6 - canal)
    behind = canvas.cover(arch) * np.where(canal > -5, upper, plate)
    canvas.paint(box, behind, build.densities.cortex * 0.8)
    # Spinous process: a plate in the midline that slopes down behind the arch.
    back = -(canal + 11)
    tilted, _ = vertebra_number(build, z + 0.95 * np.maximum(back, 0))
    tilt = np.abs(tilted - np.rint(tilted)) * height
    thick = 2.2 + 1.4 * np.clip((back - 14) * 0.15, 0, 1)
    process = np.minimum(np.minimum(thick - aside, 5.5 - tilt), np.minimum(back + 3, 20 - back))
    _paint_bone(canvas, box, process, build, 0.85 * build.densities.cortex)
    # Transverse processes, and the heads and necks of the ribs beside the body.
    wing_y = canal + 6 + 0.45 * (aside - 12)
    rise = phase * height + 3
    wing = 4.0 - np.sqrt(wing_y * wing_y + rise * rise)
    wing = np.minimum(wing, np.minimum(aside - 9, 31 - aside))
    _paint_bone(canvas, box, wing, build, 0.8 * build.densities.cortex)
    neck_y = y + 0.75 * depth + 0.62 * (aside - radius)
    rib, _ = vertebra_number(build, z + 0.25 * (aside - radius))
    rib = (rib + 0.35 - np.rint(rib + 0.35)) * height
    neck = 4.2 - np.sqrt(neck_y * neck_y + rib * rib)
    neck = np.minimum(neck, np.minimum(aside - radius + 2, 46 - aside))
    neck = np.minimum(neck, np.minimum((number - 0.4) * 20, (12.6 - number) * 20))
    _paint_bone(canvas, box, neck, build, 0.8 * build.densities.cortex)
    canvas.paint(box, canvas.cover(8.2 - ring), 5)
    canvas.paint(box, canvas.cover(4.6 - ring), CORD)


def _paint_sternum(canvas: Canvas, build: Thorax) -> None:
    """Manubrium and body of the breastbone, as a plate along the slope of the cage."""
    box = canvas.box((0, 60, 25), (30, 40, 90))
    if box is None:
        return
    level, z = canvas.level[box[0]], canvas.z[box]
    out = canvas.y[box] - cage_front(build, level) - 7.5
    upper = ramp(z, 60, 10)
    half = 15 + 10 * upper - 4 * ramp(-z, 40, 12)
    across = canvas.x[box] * (1 / half)
    across *= across
    plate = 6.4 * (1 - np.sqrt((out * (1 / 6.4)) ** 2 + across * across))
    plate = np.minimum(plate, np.minimum(104 - z, z + 62))
    joint = np.abs(z - 62) - 1.2
    _paint_bone(canvas, box, np.minimum(plate, joint), build, 0.62 * build.densities.cortex)


def _paint_shoulders(canvas: Canvas, build: Thorax, cage: np.ndarray) -> None:
    """Collar bones, shoulder blades, heads of the upper arms."""
    cortex, marrow = build.densities.cortex, build.densities.marrow
    for sign in (-1.0, 1.0):
        side = sign * build.width
        for less, hu in ((0.0, cortex), (1.8, marrow)):
            collar = [(side * 24, 47, 104), (side * 62, 47, 121), (side * 100, 28, 138)]
            collar.append((side * 132, 4, 150))
            path(canvas, collar, [r - less for r in (7.5, 6, 5.5, 6)], hu)
            ridge = [(side * 72, -74, 110), (side * 110, -58, 132), (side * 142, -22, 158)]
            path(canvas, ridge, [4 - less, 5.5 - less, 6 - less], hu)
            neck = [(side * 118, -44, 122), (side * 134, -20, 134)]
            path(canvas, neck, [7 - less, 11 - less], hu)
            up = [(side * 152, -14, 142), (side * 164, -10, 200)]
            if build.arms == "up":
                path(canvas, up, [12 - less, 11 - 2 * less], hu)
            head = ellipsoid(canvas, (side * 153, -13, 141), (22 - less, 22 - less, 22 - less))
            if head is not None:
                canvas.paint(*head, hu if hu == cortex else 0.8 * hu)
        _paint_blade(canvas, build, cage, side)


def _paint_blade(canvas: Canvas, build: Thorax, cage: np.ndarray, side: float) -> None:
    """A thin curved triangle that follows the ribs, thicker at its outer edge."""
    box = canvas.box((side * 100, -66, 70), (46, 50, 66))
    if box is None:
        return
    z = canvas.z[box]
    across = canvas.x[box] * (1 / side)
    up = ramp(z, 12, 110)
    outer, inner = 98 + 34 * up, 94 - 26 * ramp(z, 12, 60)
    thick = 1.7 + 3.2 * np.clip(1 - (outer - across) * 0.09, 0, 1)
    # The plate keeps its distance to the ribs, which draw in towards the top.
    plate = thick - np.abs(cage[box] + 15 + 14 * up * up)
    plate = np.minimum(plate, np.minimum(outer - across, across - inner))
    plate = np.minimum(plate, np.minimum(z - 12, 124 - z))
    plate = np.minimum(plate, -24 - canvas.y[box])
    canvas.paint(box, canvas.cover(plate), build.densities.cortex * 0.75)
    canvas.paint(box, canvas.cover(plate - 1.6), build.densities.marrow)
