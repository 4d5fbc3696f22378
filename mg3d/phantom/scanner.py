"""The scanner: a patient becomes voxels in HU with their masks, and a header's facts.

A scan is painted a few slices at a time, so that memory stays small at any grid, and the numbers do
not depend on how many at a time. All reconstructions of a scan show the same body; they differ in
kernel (sharpness, and the texture of the noise) and in the noise itself.
"""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int16, UInt32

from mg3d.data.labels import CT_RATE_FINDINGS
from mg3d.phantom.anatomy import paint_thorax
from mg3d.phantom.canvas import Canvas
from mg3d.phantom.findings import prepare_findings
from mg3d.phantom.harmless import harmless
from mg3d.phantom.patient import PatientPlan, stream
from mg3d.phantom.thorax import Thorax, Variation, draw_thorax

SLAB_VOXELS = 300_000  # painted at a time; about what a processor's cache holds


@dataclass(frozen=True)
class Kernel:
    """A reconstruction kernel.

    Attributes:
        name: as makers write it.
        noise_hu: standard deviation in a voxel of 1 mm^3 at 120 kV.
        grain_mm: how far noise reaches in plane, standard deviation of the blur.
        sharp: by how much edges are enhanced; 0 for a smooth kernel.
    """

    name: str
    noise_hu: float
    grain_mm: float
    sharp: float = 0.0


SOFT = (Kernel("B30f", 26, 0.8), Kernel("I31f", 18, 0.9), Kernel("Br40", 24, 0.75))
SHARP = (Kernel("B60f", 60, 0.9, 0.5), Kernel("I70f", 70, 0.9, 0.7), Kernel("Bl57", 52, 0.9, 0.4))
SHARP_SHARE = 0.8  # of the blurred noise that a sharp kernel takes away
# Slices, mm, with the share of reconstructions: thin ones for the lung, thick ones for reading.
THICKNESSES = {0.75: 0.1, 1.0: 0.3, 1.25: 0.2, 1.5: 0.15, 2.0: 0.1, 3.0: 0.08, 5.0: 0.07}


@dataclass(frozen=True)
class Acquisition:
    """What the header of one reconstruction of a patient's scan says.

    Attributes:
        shape: voxels (H W D), canonical axes.
        spacing_mm: of those axes.
        orientation: axes of the stored file, such as "LPS": where its first, second and third
            index run to.
        kernel: of the reconstruction.
        reconstructions: how many this scan has, 1 to 3.
        centre_mm: scanner position (x, y, z) of the middle of the volume.
    """

    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    orientation: str
    kernel: Kernel
    reconstructions: int
    centre_mm: tuple[float, float, float]


@dataclass(frozen=True)
class PhantomScan:
    """One reconstruction: voxels in HU and where every finding is."""

    hu: Int16[np.ndarray, "H W D"]
    masks: UInt32[np.ndarray, "H W D"]  # bit k set: finding k of CT_RATE_FINDINGS is there
    spacing_mm: tuple[float, float, float]
    affine: Float64[np.ndarray, "4 4"]  # index (h, w, d) to RAS+ mm

    def mask(self, name: str) -> np.ndarray:
        """Where one finding of `CT_RATE_FINDINGS` is, bool (H W D)."""
        return (self.masks >> np.uint32(CT_RATE_FINDINGS.index(name)) & np.uint32(1)).astype(bool)


def acquisition(
    plan: PatientPlan, reconstruction: int = 0, *, coarseness: float = 1.0
) -> Acquisition:
    """How this patient was scanned; the reconstructions share field of view, not slice spacing.

    Args:
        plan: the patient.
        reconstruction: 0 to `reconstructions` - 1.
        coarseness: spacing is this many times a clinical one's, for small files.
    """
    rng = stream(plan.seed, plan.patient, "scanner")
    reconstructions = 1 + int(rng.random() > 0.35) + int(rng.random() > 0.8)
    height, field_of_view = rng.uniform(325, 360), rng.uniform(340, 390)
    orientation = ("LPS", "LAS", "RAS", "LPS", "RPS", "PSR")[int(rng.random() * 6)]
    centre = tuple(float(round(v, 3)) for v in rng.normal((0, -20, -180), (8, 15, 60)))
    first_sharp = rng.random() < 0.5
    own = stream(plan.seed, plan.patient, "scanner", 1 + reconstruction)
    thickness = float(own.choice(list(THICKNESSES), p=list(THICKNESSES.values()))) * coarseness
    matrix = max(16, round(512 / coarseness))
    in_plane = float(field_of_view / matrix)
    rows = min(matrix, round(256 / in_plane))
    kernels = SHARP if first_sharp == (reconstruction % 2 == 0) else SOFT
    return Acquisition(
        shape=(max(16, round(height / thickness)), rows, matrix),
        spacing_mm=(float(thickness), in_plane, in_plane),
        orientation=orientation,
        kernel=kernels[int(own.random() * len(kernels))],
        reconstructions=reconstructions,
        centre_mm=centre,  # type: ignore[arg-type]
    )


def draw_scan(
    plan: PatientPlan,
    grid_shape: tuple[int, int, int],
    spacing_mm: tuple[float, float, float],
    *,
    reconstruction: int = 0,
    variation: Variation = Variation(),  # noqa: B008 (frozen)
) -> PhantomScan:
    """One reconstruction of a patient's scan, the same bytes for equal arguments.

    The scanner's centre (RAS+ 0, 0, 0 mm) is the centre of the grid, so that any two grids agree
    about the world.

    Args:
        plan: the patient.
        grid_shape: voxels (H W D): upwards, forwards, to the patient's right.
        spacing_mm: of those axes.
        reconstruction: which one; chooses kernel and noise.
        variation: how much healthy patients differ.

    Raises:
        ValueError: if an axis has fewer than 8 voxels or a spacing is not positive.
    """
    if min(grid_shape) < 8 or min(spacing_mm) <= 0 or not all(map(math.isfinite, spacing_mm)):
        raise ValueError(
            f"a grid needs at least 8 voxels an axis and positive spacing, got {grid_shape} of "
            f"{spacing_mm} mm; the phantom's tiny grid is (48, 32, 48) of 7.5 mm"
        )
    return draw_slices(
        plan, grid_shape, spacing_mm, range(grid_shape[0]),
        reconstruction=reconstruction, variation=variation,
    )  # fmt: skip


def draw_slices(
    plan: PatientPlan,
    grid_shape: tuple[int, int, int],
    spacing_mm: tuple[float, float, float],
    slices: range,
    *,
    reconstruction: int = 0,
    variation: Variation = Variation(),  # noqa: B008 (frozen)
) -> PhantomScan:
    """Some slices of what `draw_scan` draws; the noise of fewer slices is another one.

    Args:
        plan: the patient.
        grid_shape: of the whole scan, voxels (H W D).
        spacing_mm: of those axes.
        slices: which of the H, without gaps.
        reconstruction: which one; chooses kernel and noise.
        variation: how much healthy patients differ.
    """
    build = draw_thorax(plan, variation)
    painters = [harmless(plan, build, variation.harmless), *prepare_findings(plan, build)]
    kernel = acquisition(plan, reconstruction).kernel
    noise = stream(plan.seed, plan.patient, "noise", reconstruction)
    hu = np.empty((len(slices), *grid_shape[1:]), np.int16)
    masks = np.zeros(hu.shape, np.uint32)
    step = max(1, SLAB_VOXELS // (grid_shape[1] * grid_shape[2]))
    for start in range(0, len(slices), step):
        slab = slice(start, min(start + step, len(slices)))
        canvas = _canvas(build, grid_shape, spacing_mm, slices[slab])
        paint_thorax(canvas, build)
        for paint in painters:
            paint(canvas)
        _add_noise(canvas, kernel, noise, variation.noise, plan.tube_kv)
        hu[slab] = np.clip(np.rint(canvas.hu), -1024, 3071)
        masks[slab] = canvas.masks
    affine = np.zeros((4, 4))
    for row, axis in enumerate((2, 1, 0)):  # x is the last array axis, z the first
        affine[row, axis] = spacing_mm[axis]
        affine[row, 3] = -spacing_mm[axis] * (grid_shape[axis] - 1) / 2
    affine[2, 3] += spacing_mm[0] * slices.start
    affine[3, 3] = 1
    return PhantomScan(hu, masks, spacing_mm, affine)


def _canvas(
    build: Thorax,
    shape: tuple[int, int, int],
    spacing_mm: tuple[float, float, float],
    slices: range,
) -> Canvas:
    """Some slices of air, and the table's top below the patient."""
    indices = (np.arange(slices.start, slices.stop), np.arange(shape[1]), np.arange(shape[2]))
    middles = [(n - 1) / 2 for n in shape]
    z, y, x = (
        (step * (index - middle)).astype(np.float32)
        for index, middle, step in zip(indices, middles, spacing_mm, strict=True)
    )
    z, y, x = z[:, None, None], y[None, :, None], x[None, None, :]
    place, level = build.pose.body(x, y, z)
    canvas = Canvas(
        place=place,
        level=level,
        hu=np.full(place.shape[1:], -1000, np.float32),
        masks=np.zeros(place.shape[1:], np.uint32),
        pose=build.pose,
        spacing_mm=spacing_mm,
        first_mm=(float(z[0, 0, 0]), float(y[0, 0, 0]), float(x[0, 0, 0])),
        grid_mm=(
            -spacing_mm[0] * middles[0],
            -spacing_mm[1] * middles[1],
            -spacing_mm[2] * middles[2],
        ),
        first_slice=slices.start,
    )
    back = build.pose.scanner(np.array([[0.0, -114 - 0.4 * build.fat_mm, 0.0]]))[0, 1]
    top = y - np.float32(back - 14) - np.float32(0.0006) * x * x
    shell = canvas.cover(np.float32(5) - np.abs(top)) * canvas.cover(np.float32(205) - np.abs(x))
    canvas.hu += shell * np.float32(700)
    return canvas


def _add_noise(
    canvas: Canvas, kernel: Kernel, rng: np.random.Generator, strength: float, tube_kv: int
) -> None:
    """Edges and noise as the kernel makes them, within each slice; thicker voxels are calmer.

    A smooth kernel's noise is white noise blurred, so its grains are larger than a pixel; a sharp
    kernel's is white noise less its blur. Independent noise would fall with the root of the
    volume. Neighbouring voxels are not quite independent and scans with large voxels get less
    dose, so it falls more slowly. On pixels wider than the grain nothing is left to correlate.
    """
    sigma = strength * kernel.noise_hu * math.prod(canvas.spacing_mm) ** -0.3
    sigma *= (120 / tube_kv) ** 0.8
    noise = rng.standard_normal(canvas.hu.shape, dtype=np.float32)
    taps = _taps(kernel.grain_mm, canvas.spacing_mm[2])
    if len(taps) > 1:
        squares = sum(tap * tap for tap in taps) ** 2
        if kernel.sharp:
            canvas.hu += np.float32(kernel.sharp) * (canvas.hu - _blurred(canvas.hu, taps))
            noise -= np.float32(SHARP_SHARE) * _blurred(noise, taps)
            middle = taps[len(taps) // 2] ** 2
            gain = math.sqrt(1 - 2 * SHARP_SHARE * middle + SHARP_SHARE**2 * squares)
        else:
            noise, gain = _blurred(noise, taps), math.sqrt(squares)
        sigma /= gain
    canvas.hu += noise * np.float32(sigma)


def _taps(grain_mm: float, pixel_mm: float) -> list[float]:
    """Weights of a bell curve of that standard deviation, at pixels; [1] if it is narrow."""
    reach = min(4, math.floor(2.2 * grain_mm / pixel_mm))
    taps = [math.exp(-0.5 * (k * pixel_mm / grain_mm) ** 2) for k in range(-reach, reach + 1)]
    return [tap / sum(taps) for tap in taps]


def _blurred(values: np.ndarray, taps: list[float]) -> np.ndarray:
    """The slices of (H W D), blurred in plane; borders are continued."""
    reach = len(taps) // 2
    for axis in (1, 2):
        width = [(0, 0)] * 3
        width[axis] = (reach, reach)
        padded = np.pad(values, width, mode="edge")
        total = np.zeros_like(values)
        for k, tap in enumerate(taps):
            window = [slice(None)] * 3
            window[axis] = slice(k, k + values.shape[axis])
            total += np.float32(tap) * padded[tuple(window)]
        values = total
    return values
