"""What lies between the lungs, in HU: fat, heart, great vessels, oesophagus, airways."""

from itertools import pairwise

import numpy as np

from mg3d.phantom.canvas import Box, Canvas, Point, ellipsoid, path, tube
from mg3d.phantom.chest_wall import AIR, FAT, WATER
from mg3d.phantom.surfaces import (
    RIM_MM,
    aorta_x,
    aorta_y,
    backbone,
    cage_front,
    chamber,
    diaphragm,
    heart,
    heart_axes_of,
    pericardial_fluid,
    ramp,
    smooth,
    spine_x,
    spine_y,
)
from mg3d.phantom.thorax import Thorax

SAC_MM, WALL_MM = 1.2, 35.0
NODES_BELOW_MM = 4.0  # edge of a voxel from which healthy nodes are not drawn


def heart_point(build: Thorax, u: float, v: float, w: float) -> Point:
    """Body mm of a place given in the heart's axes (average heart, mm)."""
    moved = np.array([u, v, w])[:, None] * build.heart_axes * build.heart
    x, y, z = (np.array(build.heart_centre) + moved.sum(axis=0)).tolist()
    return x, y, z


def aorta(build: Thorax) -> list[tuple[Point, float]]:
    """Places along the aorta and its radius there: root, ascending part, arch, descending part."""
    wide = build.aorta_mm
    course: list[tuple[Point, float]] = [
        (heart_point(build, -8, 2, 8), wide + 3.0),
        (heart_point(build, -22, 4, 18), wide + 3.5),
        ((12.0, 21.0, 20.0), wide + 3.5),
        ((13.0, 20.0, 42.0), wide + 3.0),
        ((8.0, 12.0, 57.0), wide + 2.5),
        ((-3.0, -3.0, 65.0), wide + 2.0),
        ((-13.0, -19.0, 64.0), wide + 1.5),
        ((-19.0, -32.0, 55.0), wide + 1.0),
    ]
    for z in (40.0, 20.0, 0.0, -20.0, -50.0, -80.0, -110.0, -140.0, -200.0):
        at = np.float32(z)
        place = (float(aorta_x(at)), float(aorta_y(build, at)), z)
        course.append((place, wide - 0.008 * (40 - z)))
    return course


def depth_between(canvas: Canvas, build: Thorax, between: np.ndarray) -> Box | None:
    """Add heart and sac to the depth between the lungs, over their box; that box."""
    reach = 78.0 * build.heart + 8 + build.effusion_mm
    box = canvas.box(build.heart_centre, (reach, reach, reach))
    if box is None:
        return None
    x, y, z = canvas.x[box], canvas.y[box], canvas.z[box]
    turned = heart_axes_of(build, x, y, z)
    inside = heart(build, turned)
    fluid = pericardial_fluid(build, x, y, z)
    floor = z - diaphragm(build, x, y) - 1.5
    behind = -backbone(build, x, y, canvas.level[box[0]]) - 1  # spine and aorta do not give way
    inside = np.minimum(inside, np.minimum(floor - RIM_MM - fluid, behind - 4))
    around = np.minimum(inside + (RIM_MM + fluid), np.minimum(floor, behind))
    canvas.organs = {"box": box, "turned": turned, "heart": inside, "sac": around}
    between[box] = np.maximum(between[box], around + SAC_MM + 1.0)
    # Fat pads in the angles between heart and diaphragm, and down to it.
    pad = around + 14 * smooth(ramp(y, -18, 45)) - 0.9 * np.maximum(floor, 0)
    between[box] = np.maximum(between[box], pad)
    return box


def paint_mediastinum(canvas: Canvas, build: Thorax) -> None:
    """Thymus, nodes, heart, vessels, oesophagus and airways, on the fat that is there."""
    _paint_thymus(canvas, build)
    _paint_nodes(canvas, build)
    _paint_heart(canvas, build)
    _paint_veins(canvas, build)
    _paint_arteries(canvas, build)
    _paint_oesophagus(canvas, build)
    _paint_airways(canvas)


def _paint_thymus(canvas: Canvas, build: Thorax) -> None:
    """Two lobes before the great vessels, which turn to fat with strands in it with age."""
    box = canvas.box((0, 36, 56), (34, 34, 44))
    if box is None:
        return
    x, y, z = canvas.x[box], canvas.y[box], canvas.z[box]
    level = canvas.level[box[0]]
    front = cage_front(build, level) - 7
    middle = 0.7 * build.junction_mm
    aside = np.abs(x - middle)
    size = 15 - 0.05 * build.age
    # An arrow head: narrow behind the breastbone, its two tails beside the vessels, bulging a bit.
    behind = np.minimum(front - y, 62)
    wide = size * (0.12 + 0.05 * behind - 0.0008 * behind * behind) + np.sin(0.2 * y + 0.16 * z)
    shape = np.minimum(0.8 * (wide - np.abs(x - middle + 0.12 * behind)), front - y)
    shape = np.minimum(shape, 34 - np.abs(z - 56) - 0.5 * aside)
    cleft = np.clip((aside - 0.5) * np.float32(1 / 2), 0.4, 1)  # between the two
    strands = np.sin(0.55 * x + 0.31 * z + 2 * np.sin(0.21 * y)) * np.sin(0.47 * y - 0.26 * x)
    tissue = 0.12 + 0.85 * max(0.0, 1 - max(build.age - 18, 0) / 38) ** 1.5
    share = np.clip(tissue + np.float32(0.22) * strands, 0, 1) * cleft
    fat = np.clip((canvas.hu[box] + 260) * np.float32(1 / 100), 0, 1)  # lung stays lung
    canvas.paint(box, canvas.cover(shape) * share * fat, 42)


def _paint_nodes(canvas: Canvas, build: Thorax) -> None:
    """Healthy lymph nodes, where voxels are small enough to show them."""
    if canvas.edge_mm > NODES_BELOW_MM:
        return
    hu = 42.0 if build.densities.left_blood < 80 else 75.0
    for centre, radii in build.nodes:
        part = ellipsoid(canvas, centre, radii)
        if part is not None:
            box, cover = part
            fat = np.clip((canvas.hu[box] + 260) * np.float32(1 / 100), 0, 1)
            canvas.paint(box, cover * fat, hu)


def _paint_heart(canvas: Canvas, build: Thorax) -> None:
    """Sac, fluid, fat, muscle and the blood in the chambers."""
    if not canvas.organs:
        return
    box, turned = canvas.organs["box"], canvas.organs["turned"]
    inside, around = canvas.organs["heart"], canvas.organs["sac"]
    hu, blur = build.densities, build.motion_mm
    canvas.paint(box, canvas.cover(around + SAC_MM), 25)
    if build.effusion_mm:
        cover = canvas.cover(around)
        fat = canvas.cover(inside + RIM_MM)
        canvas.paint(box, cover, WATER)
        canvas.fluid = (box, cover * (1 - fat))
        canvas.paint(box, fat, FAT)
    else:
        canvas.paint(box, canvas.cover(around), FAT)
    cover = canvas.cover(inside, blur)
    canvas.heart = (box, cover)
    canvas.paint(box, cover, hu.muscle_of_heart)
    scale = build.heart
    left = canvas.cover(chamber("left ventricle", turned, 10.0) * scale, blur)
    canvas.paint(box, left * cover, hu.left_blood)
    left = canvas.cover(chamber("left atrium", turned, 2.5) * scale, blur)
    canvas.paint(box, left * cover, hu.left_blood)
    septum = -chamber("left ventricle", turned) * scale
    right = np.minimum(chamber("right ventricle", turned, 4.0) * scale, septum)
    canvas.paint(box, canvas.cover(right, blur) * cover, hu.right_blood)
    septum = np.minimum(septum, -chamber("left atrium", turned) * scale - 1)
    right = np.minimum(chamber("right atrium", turned, 2.5) * scale, septum)
    canvas.paint(box, canvas.cover(right, blur) * cover, hu.right_blood)


def _paint_veins(canvas: Canvas, build: Thorax) -> None:
    """Caval, brachiocephalic, azygos and pulmonary veins."""
    right, left = build.densities.right_blood, build.densities.left_blood
    atrium = heart_point(build, -36, 18, 18)
    cava: list[Point] = [atrium, (23, 8, 22), (22, 6, 56), (21, 12, 76)]
    path(canvas, cava, [10, 9.5, 9, 8.5], right)
    arm: list[Point] = [(21, 12, 76), (27, 20, 98), (32, 8, 124), (36, -4, 170)]
    path(canvas, arm, [8.5, 7.5, 6.5, 5.5], right)
    arm = [(21, 13, 78), (-6, 31, 86), (-30, 20, 106), (-38, -2, 170)]
    path(canvas, arm, [7.5, 6.5, 6.5, 5.5], right)
    low = build.domes["right"]
    cava = [heart_point(build, -36, 14, -22), (22, -6, low - 20), (20, -20, low - 60)]
    path(canvas, [*cava, (18, -18, -200)], [11.5, 12, 11.5, 11], 0.5 * (right + left))
    azygos: list[Point] = []
    for z in (-120.0, -60.0, 0.0, 34.0):
        x, y = (float(f(build, np.float32(z))) for f in (spine_x, spine_y))
        azygos.append((x + 7.0, y + 22.0, z))
    azygos += [(17, -26, 46), (23, -10, 50), (22, 4, 48)]  # over the right main bronchus
    path(canvas, azygos, [3, 3.5, 4, 4.2, 4.8, 4.8, 4.8], right)
    # Pulmonary veins: two on each side into the left atrium.
    for place, radius, hilum in (
        ((-50, 6, 8), 7.5, (42, 6, 12)),
        ((-42, -22, -2), 7.5, (36, -20, -22)),
        ((-24, -4, 20), 7.0, (-45, 6, 12)),
        ((-32, -34, 2), 7.0, (-40, -26, -16)),
    ):
        path(canvas, [heart_point(build, *place), hilum], [radius, 5.6], left)
    path(canvas, [(42, 6, 12), (42, 4, -6)], [4.6, 3.6], left)


def _paint_arteries(canvas: Canvas, build: Thorax) -> None:
    """Pulmonary trunk and arteries, aorta and the branches of its arch."""
    right, left = build.densities.right_blood, build.densities.left_blood
    outflow = heart_point(build, -4, 24, 12), heart_point(build, -14, 24, 24)
    path(canvas, [*outflow, (-19, 22, 16), (-18, 8, 27)], [12, 13, 13.5, 12.5], right)
    main: list[Point] = [(-17, 8, 26), (6, -4, 23), (30, -8, 20), (44, -12, 12)]
    path(canvas, main, [10.5, 10, 9.5, 8], right)
    path(canvas, [(34, -8, 22), (44, -8, 33)], [6.5, 5.5], right)
    path(canvas, [(44, -12, 12), (47, -16, 2), (46, -20, -8)], [8, 7, 6], right)
    path(canvas, [(46, -12, 4), (47, -4, -5)], [4.5, 4], right)
    main = [(-18, 8, 27), (-30, -8, 33), (-43, -18, 27), (-47, -22, 12), (-47, -24, 0)]
    path(canvas, main, [11.5, 10.5, 9, 7.5, 6], right)
    path(canvas, [(-38, -10, 31), (-45, -6, 28)], [6, 5.2], right)
    course = aorta(build)
    path(canvas, [place for place, _ in course], [radius for _, radius in course], left)
    path(canvas, [(3, 5, 64), (12, 8, 86), (20, 0, 112), (34, -8, 134)], [7.5, 6.5, 6, 5], left)
    path(canvas, [(18, 2, 106), (22, -4, 170)], [4.5, 4], left)
    carotid: list[Point] = [(-6, -6, 68), (-13, 0, 92), (-19, -6, 124), (-22, -6, 170)]
    path(canvas, carotid, [5, 4.5, 4.2, 4], left)
    subclavian: list[Point] = [(-15, -22, 66), (-22, -18, 94), (-28, -14, 118), (-48, -6, 134)]
    path(canvas, subclavian, [5.8, 5.2, 5, 4.5], left)


def _paint_oesophagus(canvas: Canvas, build: Thorax) -> None:
    """Behind the windpipe and the left atrium, in front of the aorta below; a little air in it."""
    course: list[Point] = []
    for x, z, forward in (
        (-3, 170.0, 20),
        (-4, 110.0, 20),
        (-6, 60.0, 24),
        (-3, 20.0, 24),
        (-2, -20.0, 24),
        (-8, -56.0, 30),
        (-16, -82.0, 40),
        (-30, -96.0, 44),
    ):
        course.append((float(x), float(spine_y(build, np.float32(z))) + forward, z))
    path(canvas, course, [7, 7.5, 7.5, 7.5, 8, 8.5, 8.5, 9], 40)
    path(canvas, course[1:4], [1.6, 2, 1.6], -500)


AIRWAYS: tuple[tuple[list[Point], list[float]], ...] = (
    ([(0, 0, 180), (0, -13, 92), (2, -18, 52)], [8.5, 8.5, 8.8]),
    ([(2, -18, 51), (18, -22, 34), (34, -23, 24)], [7.5, 7, 6.6]),
    ([(34, -23, 24), (42, -14, 32), (45, -12, 36)], [4.8, 4.4, 4]),
    ([(34, -23, 24), (39, -20, 8), (41, -17, -4)], [6, 5.5, 5.2]),
    ([(41, -17, -4), (42, -7, -10)], [3.8, 3.4]),
    ([(41, -17, -4), (40, -24, -14)], [4.8, 4.2]),
    ([(2, -18, 51), (-18, -24, 34), (-38, -27, 20)], [6.8, 6.2, 5.6]),
    ([(-38, -27, 20), (-42, -12, 22)], [4.8, 4]),
    ([(-38, -27, 20), (-41, -27, 4), (-41, -30, -6)], [5, 4.6, 4.2]),
)


def _paint_airways(canvas: Canvas) -> None:
    """Windpipe, main and lobar bronchi: all walls first, then the air, so that forks are open."""
    for more, hu in ((1.6, WALL_MM), (0.0, AIR)):
        for points, radii in AIRWAYS:
            for (start, end), (first, last) in zip(pairwise(points), pairwise(radii), strict=True):
                part = tube(canvas, start, end, first + more, last + more)
                if part is not None:
                    canvas.paint(*part, hu)
