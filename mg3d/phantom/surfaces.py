"""The surfaces that bound the organs of one patient: functions of a place in mm of the body.

Each gives roughly the distance to a surface, positive inside, and takes arrays of any shape: the
voxels of a canvas, or the random places among which a finding is put. So words, masks and picture
share one anatomy. `level` is z, or z per slice, for outlines that change slowly.
"""

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from mg3d.phantom.thorax import Thorax

Field = Any  # np.ndarray of float32 or float64, any shape

SIGN = {"right": 1.0, "left": -1.0}


def ramp(values: Field, start: float, width: float) -> Field:
    """0 below `start`, 1 from `start + width` on, straight between."""
    return np.clip((values - start) * (1 / width), 0, 1)


def smooth(share: Field) -> Field:
    """A ramp's share with soft ends."""
    return share * share * (3 - 2 * share)


def join(one: Field, other: Field, width: float) -> Field:
    """The larger of two fields, rounded where they meet: a union without a crease."""
    share = np.clip(0.5 + (one - other) * (0.5 / width), 0, 1)
    return other + (one - other) * share + width * share * (1 - share)


# The frame: spine, rib cage, diaphragm.


def spine_x(build: "Thorax", level: Field) -> Field:
    """Middle of the vertebral column from left to right: a slight curve."""
    return build.scoliosis_mm * np.sin(level * 0.012 + build.scoliosis_phase)


def spine_y(build: "Thorax", level: Field) -> Field:
    """Middle of the vertebral bodies from back to front: the kyphosis."""
    above, below = np.maximum(level + 10, 0), np.minimum(level + 10, 0)
    return -56 + build.kyphosis * (0.0011 * above * above + 0.0006 * below * below)


def vertebra_radius(level: Field) -> Field:
    """Half the width of a vertebral body: growing downwards."""
    return 16.6 - 0.021 * level


def vertebra_number(build: "Thorax", z: Field) -> tuple[Field, Field]:
    """Which vertebra is at a height (1.0: the middle of T1), and the height of one, mm.

    T1 is 19 mm high with its disc, each next one 0.7 mm more.
    """
    height = np.sqrt(np.maximum(380 + 1.44 * (131 + build.vertebra_shift - z), 100))
    return 1 + (height - 19.5) * (1 / 0.72), height


def cage_front(build: "Thorax", level: Field) -> Field:
    """y of the back of the breastbone."""
    slope = ramp(level, -40, 190)
    return 74 * build.depth - 44 * slope * slope


def cage(build: "Thorax", x: Field, y: Field, level: Field) -> Field:
    """Into the rib cage, from the pleura of the chest wall.

    Round in front, flat behind, where it reaches back beside the spine; no two halves are alike.
    """
    rise = np.clip((level + 40) * (1 / 190), 0, 0.985)
    waist = 1 - 0.05 * ramp(-level, 90, 80)
    half_x = 131 * build.width * np.sqrt(1 - rise * rise) * waist
    half_x = half_x * (1 + build.uneven * np.sign(x))
    top = ramp(level, 85, 65)
    front, back = cage_front(build, level), spine_y(build, level) - 40 + 27 * top * top
    middle, half_y = 0.5 * (front + back), 0.5 * (front - back)
    forward = y - middle + build.twist * x
    u, v = x * (1 / half_x), forward * (1 / half_y)
    u = u * u
    v = v * v
    before, behind = np.float32(build.roundness), np.float32(build.roundness_behind)
    corner = np.where(forward > 0, before, behind)
    outline = np.sqrt(np.sqrt(u * u + v * v + corner * u * v)) + 1e-4
    radius = np.sqrt(x * x + forward * forward)
    return radius * (1 / outline - 1)  # along the ray from the middle


def diaphragm(build: "Thorax", x: Field, y: Field) -> Field:
    """Height z of the diaphragm: a dome on either side, the heart's saddle between."""
    highest: Field = -1000.0
    for side, sign in SIGN.items():
        across, along = (x - sign * 60 * build.width) * (1 / 74), (y - 6) * (1 / 88)
        away = across * across + along * along
        dome = build.domes[side] - away * (22 + 32 * away)
        highest = np.maximum(highest, dome)
    across, along = (x + 14) * (1 / 60), (y - 20) * (1 / 56)
    away = across * across + along * along
    saddle = 0.5 * (build.domes["left"] + build.domes["right"]) - 9 - away * (18 + 14 * away)
    return np.maximum(highest, saddle)


# Between the lungs.


def mediastinum(build: "Thorax", x: Field, y: Field, level: Field) -> Field:
    """Into what lies between the lungs, but for the heart: fat, vessels, spine."""
    half = 30 - 7 * ramp(-level, -45, 60) - 2 * ramp(level, 95, 30)
    low = ramp(-level, 5, 40)  # fat before the heart
    narrow = 0.74 * (1 - ramp(level, 84, 34)) * (1 - 0.6 * low)
    front = smooth(ramp(y, 14, 46)) * narrow  # the lungs nearly meet behind the breastbone
    upper = ramp(level, 30, 30)
    back = smooth(ramp(-y - 14 * upper, 10, 22)) * (0.42 - 0.06 * upper)  # and beside the spine
    middle = half * (1 - front - back) - np.abs(x + 1 - build.junction_mm * front)
    flare = 12 * ramp(y - cage_front(build, level), -16, 20)  # fat behind the breastbone
    middle = middle + flare
    knob_x, knob_y, knob_z = x + 15, y + 20, (level - 60) * 1.25
    knob = 23 - np.sqrt(knob_x * knob_x + 0.55 * knob_y * knob_y + knob_z * knob_z)
    return np.maximum(np.maximum(middle, knob), backbone(build, x, y, level))


def backbone(build: "Thorax", x: Field, y: Field, level: Field) -> Field:
    """Into the vertebral column and the descending aorta beside it."""
    body = vertebra_radius(level) + 4
    aside, behind = x - spine_x(build, level), spine_y(build, level) - y
    column = body - np.sqrt(aside * aside + 1.15 * behind * behind)
    wings = 0.011 * np.maximum(behind, 0) * behind  # to the transverse processes
    gutter = np.minimum(body - 3 + np.minimum(wings, 17) - np.abs(aside), behind + 8)
    left, forward = x - aorta_x(level), y - aorta_y(build, level)
    aorta = np.minimum(build.aorta_mm + 1.5 - np.sqrt(left * left + forward * forward), 66 - level)
    return np.maximum(np.maximum(column, gutter), aorta)


def aorta_x(level: Field) -> Field:
    """Middle of the descending aorta: left of the spine, before it further down."""
    return -20 + 13 * smooth(ramp(-level, 20, 120))


def aorta_y(build: "Thorax", level: Field) -> Field:
    """Middle of the descending aorta from back to front."""
    return spine_y(build, level) + 17 + 12 * smooth(ramp(-level, 20, 120))


# The heart, in its own axes: u along to the apex, v to the front, w upwards.

CHAMBERS: dict[str, tuple[tuple[float, float, float], tuple[float, float, float]]] = {
    "left ventricle": ((13, -12, -1), (45, 29, 29)),
    "right ventricle": ((6, 19, -7), (43, 22, 29)),
    "right atrium": ((-36, 19, -2), (25, 22, 28)),
    "left atrium": ((-34, -10, 9), (24, 21, 21)),
}


def heart_axes_of(build: "Thorax", x: Field, y: Field, z: Field) -> list[Field]:
    """(u, v, w) of a place, divided by the heart's scale, so that `CHAMBERS` holds."""
    offset = [p - c for p, c in zip((x, y, z), build.heart_centre, strict=True)]
    return [
        (float(a) * offset[0] + float(b) * offset[1] + float(c) * offset[2]) * (1 / build.heart)
        for a, b, c in build.heart_axes
    ]


def chamber(name: str, turned: list[Field], less_mm: float = 0.0) -> Field:
    """Into one chamber with its wall, in units of the average heart; `less_mm` of it peeled off.

    Measured along the ray from the chamber's middle, so that fluid round it is as thick as it says.
    """
    middle, radii = CHAMBERS[name]
    scaled: Field = 1e-6
    length: Field = 1e-6
    for t, m, r in zip(turned, middle, radii, strict=True):
        away = t - m
        away = away * away
        length = length + away
        scaled = scaled + away * (1 / (r - less_mm) ** 2)
    length = np.sqrt(length)
    return length / np.sqrt(scaled) - length


def heart(build: "Thorax", turned: list[Field]) -> Field:
    """Into the heart, four chambers joined with grooves between them; mm."""
    ventricles = join(chamber("left ventricle", turned), chamber("right ventricle", turned), 7)
    atria = join(chamber("right atrium", turned), chamber("left atrium", turned), 7)
    return join(ventricles, atria, 5) * build.heart


def pericardial_fluid(build: "Thorax", x: Field, y: Field, z: Field) -> Field | float:
    """Thickness of the fluid round the heart, mm: most behind and below, as it lies in the sac."""
    if not build.effusion_mm:
        return 0.0
    cx, cy, cz = build.heart_centre
    down = (0.45 * (cy - y) + 0.7 * (cz - z) - 0.35 * (x - cx)) * (1 / (45 * build.heart))
    share = 0.15 + 0.85 * smooth(ramp(down, -0.9, 1.5))
    # The sac is fixed behind the left atrium, where the pulmonary veins enter: little fluid there.
    atrium = chamber("left atrium", heart_axes_of(build, x, y, z)) * build.heart
    return build.effusion_mm * share * (0.2 + 0.8 * ramp(-atrium, 3, 22))


RIM_MM = 4.0  # fat between muscle and sac


def sac(build: "Thorax", x: Field, y: Field, z: Field) -> Field:
    """Into the pericardial sac, which lies on the diaphragm and behind the breastbone."""
    inside = heart(build, heart_axes_of(build, x, y, z))
    return inside + (RIM_MM + pericardial_fluid(build, x, y, z))


# The lungs.


def apex(build: "Thorax", x: Field, y: Field, z: Field) -> Field:
    """Below the dome of the lung's top."""
    across, along = (np.abs(x) - 46) * (1 / 42), (y + 18) * (1 / 64)
    return 132 - 26 * (across * across + along * along) - z


def lung(
    build: "Thorax", side: str, x: Field, y: Field, z: Field, level: Field, between: Field = None
) -> Field:
    """Into one lung, from all its surfaces.

    Args:
        build: the patient.
        side: "left" or "right".
        x: body mm; likewise y, z.
        level: z again, or z per slice.
        between: the depth into mediastinum and heart, where it is known already.
    """
    if between is None:
        floor = z - diaphragm(build, x, y)
        between = np.maximum(mediastinum(build, x, y, level), sac(build, x, y, z) + 2)
    else:
        floor = z - diaphragm(build, x, y)
    wall = np.minimum(cage(build, x, y, level), apex(build, x, y, z))
    inner = np.minimum(-between, SIGN[side] * x)
    return np.minimum(np.minimum(wall, 0.8 * floor), inner)


def fluid_thickness(build: "Thorax", side: str, level: Field) -> Field:
    """Depth of the free fluid of one side from back to front, mm, by height: none at the top."""
    size = build.pleural_mm[side]
    upper_end = -38.0 + 2.2 * size
    return size * smooth(ramp(-level, -upper_end, upper_end + 58))


def pleural_fluid(build: "Thorax", side: str, x: Field, y: Field, z: Field, level: Field) -> Field:
    """Into the free fluid of one side, wherever that is pleural space.

    A patient lies on the back: fluid is what the lung leaves when it is lifted forward by the
    fluid's thickness. That gives a crescent, thickest behind, with a meniscus at its ends, thinner
    upwards; a thin layer of it lies on the back of the diaphragm.
    """
    thickness = fluid_thickness(build, side, level)
    lifted = cage(build, x, y - thickness, level)
    layer = 0.2 * np.maximum(thickness - 12, 0) * ramp(-y, -10, 50)
    on_dome = 0.8 * (z - layer - diaphragm(build, x, y))
    fluid = -np.minimum(lifted, np.where(layer > 0.5, on_dome, 50.0))
    return np.where(thickness > 0.5, fluid, -50.0)


def above_oblique(build: "Thorax", side: str, x: Field, y: Field, z: Field) -> Field:
    """Above the oblique fissure, mm: it falls from the back to the front, slightly bent."""
    bend = 0.0016 * (np.abs(x) - 60) * (np.abs(x) - 60)
    return (z - (34 + build.oblique_mm[side]) + 0.9 * (y + 68) - bend) * (1 / 1.345)


def above_horizontal(build: "Thorax", x: Field, y: Field, z: Field) -> Field:
    """Above the horizontal fissure of the right lung, mm."""
    bend = 0.0014 * (x - 62) * (x - 62) + 0.0016 * (y - 20) * (y - 20)
    return z - (12 + build.horizontal_mm) + bend


def lobe(build: "Thorax", side: str, name: str | None, x: Field, y: Field, z: Field) -> Field:
    """Into a lobe from its fissures, mm; the whole lung for None."""
    upper = above_oblique(build, side, x, y, z)
    if name is None:
        return np.full_like(upper, 1000)
    if name == "lower lobe":
        return -upper
    if side == "left":
        return upper
    horizontal = above_horizontal(build, x, y, z)
    return np.minimum(upper, -horizontal if name == "middle lobe" else horizontal)
