"""A short-axis MR heart, the other modality: two ventricles at end-diastole and end-systole.

A stack of thick slices across the left ventricle: its cavity, the ring of myocardium around it, the
crescent of the right ventricle beside it; five groups of patients, as in ACDC. The scale is
arbitrary, a smooth bias field lies over it, and the noise is Rician.

Source: classes, phases and groups of ACDC (Bernard et al., IEEE TMI 2018, table 1); volumes, wall
thickness and ejection fractions are rounded from that table's definitions of the groups.
"""

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int16, UInt8

from mg3d.phantom.patient import stream

Phase: TypeAlias = Literal["ED", "ES"]
PHASES: tuple[Phase, ...] = ("ED", "ES")
CLASSES = ("right ventricle", "myocardium", "left ventricle")  # 1, 2, 3; 0 is background
GROUPS = ("NOR", "MINF", "DCM", "HCM", "RV")


@dataclass(frozen=True)
class _Group:
    """What a group's hearts are like, mean values at end-diastole."""

    cavity_mm: float  # radius of the left cavity at its widest
    wall_mm: float  # thickness of the myocardium
    ejection: float  # share of the left cavity's area lost at end-systole
    right_mm: float  # radius of the right ventricle
    right_ejection: float


_GROUPS = {
    "NOR": _Group(24, 8.5, 0.60, 24, 0.50),
    "MINF": _Group(27, 8.0, 0.34, 24, 0.45),
    "DCM": _Group(34, 7.0, 0.18, 27, 0.30),
    "HCM": _Group(21, 15.0, 0.72, 22, 0.55),
    "RV": _Group(23, 8.5, 0.55, 33, 0.25),
}
# Brightness of a balanced steady-state sequence, 0 to 1; blood and fat are bright.
_BLOOD, _MUSCLE, _FAT, _LUNG, _LIVER, _WALL = 0.85, 0.32, 0.95, 0.08, 0.42, 0.36


@dataclass(frozen=True)
class Heart:
    """One made-up patient's heart; equal (seed, patient) give equal hearts.

    Attributes:
        seed: of the whole data set.
        patient: number of the patient.
        group: one of `GROUPS`.
        shape: voxels (H W D) of its stack: slices from apex to base, rows, columns.
        spacing_mm: of those axes; slices are thick.
        frames: numbers of the cine frame at end-diastole and end-systole, from 1.
        num_frames: of the cine.
        length_mm: of the left ventricle, apex to base, at end-diastole.
        cavity_mm: radius of the left cavity at its widest, end-diastole.
        wall_mm: thickness of the myocardium there.
        ejection: share of the left cavity's area lost at end-systole.
        right_mm: radius of the right ventricle, end-diastole.
        right_ejection: likewise lost.
        scar: direction (radians in the slice) and half-width of a wall that does not thicken.
        shifts_mm: (H 2) of each slice, as breath-holds differ.
        scale: of the scanner's numbers.
        tilt: of the bias field, one coefficient a monomial.
        noise: standard deviation, share of the brightness range.
    """

    seed: int
    patient: int
    group: str
    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    frames: tuple[int, int]
    num_frames: int
    length_mm: float
    cavity_mm: float
    wall_mm: float
    ejection: float
    right_mm: float
    right_ejection: float
    scar: tuple[float, float] | None
    shifts_mm: Float64[np.ndarray, "H 2"]
    scale: float
    tilt: Float64[np.ndarray, " 6"]
    noise: float


@dataclass(frozen=True)
class HeartFrame:
    """One phase: numbers of the scanner, and the class of every voxel."""

    voxels: Int16[np.ndarray, "H W D"]
    classes: UInt8[np.ndarray, "H W D"]  # 0 background, then `CLASSES`
    spacing_mm: tuple[float, float, float]
    affine: Float64[np.ndarray, "4 4"]  # index (h, w, d) to RAS+ mm


def draw_heart(seed: int, patient: int, *, coarseness: float = 1.0) -> Heart:
    """Draw a patient: its group, the measures of its heart and of the scanner.

    Args:
        seed: of the whole data set, 0 or larger.
        patient: number of the patient, 0 or larger.
        coarseness: in-plane spacing is this many times a clinical one's, for small files.

    Raises:
        ValueError: if the coarseness is below 1 or above 6.
    """
    if not 1 <= coarseness <= 6:
        raise ValueError(f"coarseness is 1 (clinical) to 6, got {coarseness}")
    rng = stream(seed, patient, "heart")
    group = GROUPS[int(rng.random() * len(GROUPS))]
    mean, size = _GROUPS[group], float(np.exp(0.08 * rng.standard_normal()))
    pixel = round(float(rng.uniform(1.37, 1.68)) * coarseness, 4)
    thickness = (5.0, 6.5, 8.0, 10.0)[int(rng.random() * 4)]
    length = size * float(rng.uniform(82, 96)) * (1.08 if group == "DCM" else 1.0)
    slices = max(6, round((length + 12) / thickness))
    num_frames = int(rng.integers(18, 31))
    return Heart(
        seed=seed,
        patient=patient,
        group=group,
        shape=(slices, round(300 / pixel), round(260 / pixel)),
        spacing_mm=(thickness, pixel, pixel),
        frames=(1, round(num_frames * float(rng.uniform(0.33, 0.45)))),
        num_frames=num_frames,
        length_mm=length,
        cavity_mm=size * mean.cavity_mm * float(rng.uniform(0.93, 1.07)),
        wall_mm=mean.wall_mm * float(rng.uniform(0.9, 1.1)),
        ejection=mean.ejection * float(rng.uniform(0.9, 1.1)),
        right_mm=size * mean.right_mm * float(rng.uniform(0.93, 1.07)),
        right_ejection=mean.right_ejection * float(rng.uniform(0.9, 1.1)),
        scar=(float(rng.uniform(-np.pi, np.pi)), 0.7) if group == "MINF" else None,
        shifts_mm=1.2 * rng.standard_normal((slices, 2)),
        scale=float(np.exp(rng.uniform(np.log(150), np.log(1800)))),
        tilt=rng.uniform(-0.35, 0.35, 6),
        noise=float(rng.uniform(0.03, 0.06)),
    )


def draw_frame(heart: Heart, phase: Phase) -> HeartFrame:
    """One phase of a heart, the same bytes for equal arguments.

    Args:
        heart: the patient.
        phase: "ED", end-diastole, or "ES", end-systole: a smaller cavity and a thicker wall.
    """
    systole = PHASES.index(phase)
    middles = [(n - 1) / 2 for n in heart.shape]
    z, y, x = (
        ((np.arange(n) - middle) * step).astype(np.float32)
        for n, middle, step in zip(heart.shape, middles, heart.spacing_mm, strict=True)
    )
    z, y, x = z[:, None, None], y[None, :, None], x[None, None, :]
    y = y - heart.shifts_mm[:, 0].astype(np.float32)[:, None, None]
    x = x - heart.shifts_mm[:, 1].astype(np.float32)[:, None, None]
    left, wall, right = _distances(heart, z, y, x, systole)
    cavity, muscle, other = left > 0, (wall > 0) & (left <= 0), (right > 0) & (wall <= 0)
    classes = np.zeros(heart.shape, np.uint8)
    for number, where in enumerate((other, muscle, cavity), start=1):
        classes[np.broadcast_to(where, heart.shape)] = number
    bright = _paint(heart, y, x, (left, wall, right))
    voxels = _acquire(heart, bright, systole)
    affine = np.zeros((4, 4))
    for row, axis in enumerate((2, 1, 0)):  # x is the last array axis, z the first
        affine[row, axis] = heart.spacing_mm[axis]
        affine[row, 3] = -heart.spacing_mm[axis] * middles[axis]
    affine[3, 3] = 1
    return HeartFrame(voxels, classes, heart.spacing_mm, affine)


def _distances(
    heart: Heart,
    z: Float32[np.ndarray, "H 1 1"],
    y: Float32[np.ndarray, "H W 1"],
    x: Float32[np.ndarray, "H 1 D"],
    systole: int,
) -> tuple[Float32[np.ndarray, "H W D"], ...]:
    """How deep each voxel lies in left cavity, cavity with wall, and right ventricle; mm.

    The muscle keeps its area from phase to phase: where the cavity shrinks, the wall thickens.
    """
    length = heart.length_mm * (1 - 0.12 * systole)
    # 0 at the apex, 1 at the base, which is at the top of the stack and moves down in systole.
    height = (z + heart.length_mm / 2) / length
    inside = (height > 0) & (height <= 1)
    taper = np.sqrt(np.clip(1 - (1 - np.clip(height, 0, 1)) ** 2.2, 0, 1)).astype(np.float32)
    angle = np.arctan2(y, x)
    open_mm = heart.cavity_mm * taper
    outer_mm = open_mm + heart.wall_mm * np.clip(taper * 1.6, 0, 1)
    if heart.group == "HCM":  # the septum, towards the right ventricle, most of all
        outer_mm = outer_mm + 0.3 * heart.wall_mm * np.clip(np.cos(angle), 0, 1) * taper
    lost = heart.ejection * systole * np.ones_like(angle)
    if heart.scar is not None:
        middle, width = heart.scar
        away = np.abs(np.angle(np.exp(1j * (angle - middle)))).astype(np.float32)
        lost = lost * np.clip((away - width) / 0.5 + 0.5, 0.1, 1)
    small_mm = open_mm * np.sqrt(1 - lost)
    thick_mm = np.sqrt(outer_mm**2 - open_mm**2 + small_mm**2)
    radius = np.hypot(x, y)
    far = np.float32(-1e3)
    left = np.where(inside & (small_mm > 2.5), small_mm - radius, far)
    wall = np.where(inside, thick_mm - radius, far)
    reach = heart.right_mm * np.sqrt(1 - heart.right_ejection * systole) * taper
    # To the patient's right and a little to the front; it wraps around the septum.
    beside = 0.75 * thick_mm + 0.35 * reach
    from_middle = np.hypot(x - beside, (y - np.float32(6)) / np.float32(1.25))
    right = np.where(inside & (height > 0.18), reach - from_middle, far)
    return tuple(np.asarray(d, np.float32) for d in (left, wall, right))


def _paint(
    heart: Heart,
    y: Float32[np.ndarray, "H W 1"],
    x: Float32[np.ndarray, "H 1 D"],
    distances: tuple[Float32[np.ndarray, "H W D"], ...],
) -> Float32[np.ndarray, "H W D"]:
    """Brightness of chest and heart, 0 to 1, edges as sharp as a pixel."""
    left, wall, right = distances
    pixel = np.float32(heart.spacing_mm[1])

    def cover(depth: np.ndarray) -> np.ndarray:
        return np.clip(depth / pixel + np.float32(0.5), 0, 1)

    def ellipse(at_y: float, at_x: float, half_y: float, half_x: float) -> np.ndarray:
        away = np.hypot((y - np.float32(at_y)) / half_y, (x - np.float32(at_x)) / half_x)
        return np.asarray((1 - away) * min(half_y, half_x), np.float32)

    bright = np.full(heart.shape, 0.02, np.float32)
    layers = [
        (ellipse(-22, 12, 112, 118), _FAT),
        (ellipse(-22, 12, 102, 108), _WALL),
        (ellipse(-24, -42, 86, 50), _LUNG),
        (ellipse(-30, 78, 80, 40), _LUNG),
        (ellipse(-70, 66, 38, 44), _LIVER),
        (ellipse(-72, -14, 11, 11), _BLOOD),  # the aorta
    ]
    outside = np.maximum(wall, right) + np.float32(5)
    layers += [(outside, 0.7 * _FAT), (right, _BLOOD), (wall, _MUSCLE), (left, _BLOOD)]
    for depth, value in layers:
        share = cover(depth)
        bright += share * (np.float32(value) - bright)
    rng = stream(heart.seed, heart.patient, "heart", 1)
    for turn in rng.uniform(-np.pi, np.pi, 2):  # papillary muscles count as cavity
        place = 0.55 * heart.cavity_mm
        spot = np.hypot(y - place * np.sin(turn), x - place * np.cos(turn))
        share = cover(np.minimum(np.float32(3.5) - spot, left - 1)) * np.float32(0.8)
        bright += share * (np.float32(_MUSCLE) - bright)
    return bright


def _acquire(
    heart: Heart, bright: Float32[np.ndarray, "H W D"], systole: int
) -> Int16[np.ndarray, "H W D"]:
    """The scanner's numbers: bias field, Rician noise, arbitrary scale."""
    h, w, d = (np.linspace(-1, 1, n, dtype=np.float32) for n in heart.shape)
    h, w, d = h[:, None, None], w[None, :, None], d[None, None, :]
    monomials = (w, d, w * d, w * w - 0.33, d * d - 0.33, 0.3 * h)
    field = sum(np.float32(c) * m for c, m in zip(heart.tilt, monomials, strict=True))
    rng = stream(heart.seed, heart.patient, "noise", 10 + systole)
    real, other = rng.standard_normal((2, *heart.shape), dtype=np.float32) * heart.noise
    signal = np.hypot(bright * np.exp(field) + real, other)
    return np.clip(np.rint(signal * heart.scale), 0, 32767).astype(np.int16)


def voxels_of(frame: HeartFrame, name: str) -> Bool[np.ndarray, "H W D"]:
    """Where one of `CLASSES` is."""
    return frame.classes == CLASSES.index(name) + 1
