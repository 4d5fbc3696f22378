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
from mg3d.phantom.patient import PatientPlan, stream
from mg3d.phantom.thorax import Thorax, Variation, draw_thorax

SLAB_VOXELS = 300_000  # painted at a time; about what a processor's cache holds


@dataclass(frozen=True)
class Kernel:
    """A reconstruction kernel.

    Attributes:
        name: as makers write it.
        noise_hu: standard deviation in a voxel of 1 mm^3.
        blur: share of a voxel's noise given to its neighbours in plane; below 0 it is sharpened.
    """

    name: str
    noise_hu: float
    blur: float


SOFT = (Kernel("B30f", 26, 0.25), Kernel("I31f", 18, 0.3), Kernel("Br40", 24, 0.22))
SHARP = (Kernel("B60f", 60, -0.12), Kernel("I70f", 70, -0.16), Kernel("Bl57", 52, -0.1))


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
    thickness = (1.0, 1.25, 1.5, 2.0)[int(own.random() * 4)] * coarseness
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
    build = draw_thorax(plan, variation)
    painters = prepare_findings(plan, build)
    kernel = acquisition(plan, reconstruction).kernel
    noise = stream(plan.seed, plan.patient, "noise", reconstruction)
    hu = np.empty(grid_shape, np.int16)
    masks = np.zeros(grid_shape, np.uint32)
    step = max(1, SLAB_VOXELS // (grid_shape[1] * grid_shape[2]))
    for start in range(0, grid_shape[0], step):
        slab = slice(start, min(start + step, grid_shape[0]))
        canvas = _canvas(build, grid_shape, spacing_mm, slab)
        paint_thorax(canvas, build)
        for paint in painters:
            paint(canvas)
        _add_noise(canvas, kernel, noise, variation.noise)
        hu[slab] = np.clip(np.rint(canvas.hu), -1024, 3071)
        masks[slab] = canvas.masks
    affine = np.zeros((4, 4))
    for row, axis in enumerate((2, 1, 0)):  # x is the last array axis, z the first
        affine[row, axis] = spacing_mm[axis]
        affine[row, 3] = -spacing_mm[axis] * (grid_shape[axis] - 1) / 2
    affine[3, 3] = 1
    return PhantomScan(hu, masks, spacing_mm, affine)


def _canvas(
    build: Thorax,
    shape: tuple[int, int, int],
    spacing_mm: tuple[float, float, float],
    slab: slice,
) -> Canvas:
    """Some slices of air, and the table's top below the patient."""
    indices = (np.arange(slab.start, slab.stop), np.arange(shape[1]), np.arange(shape[2]))
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
    )
    back = build.pose.scanner((0, -102 * build.depth - 0.7 * build.fat_mm, 0))[1]
    top = y - np.float32(back - 14) - np.float32(0.0004) * x * x
    shell = canvas.cover(np.float32(5) - np.abs(top)) * canvas.cover(np.float32(205) - np.abs(x))
    canvas.hu += shell * np.float32(700)
    return canvas


def _add_noise(canvas: Canvas, kernel: Kernel, rng: np.random.Generator, strength: float) -> None:
    """Noise as the kernel shapes it, within each slice; thicker voxels are calmer.

    Independent noise would fall with the root of the volume. Neighbouring voxels are not quite
    independent and scans with large voxels get less dose, so it falls more slowly.
    """
    volume = float(np.prod(canvas.spacing_mm))
    sigma = strength * kernel.noise_hu * volume**-0.3
    noise = rng.standard_normal(canvas.hu.shape, dtype=np.float32)
    share, gain = np.float32(kernel.blur), 1.0
    for axis in (1, 2):
        near = [slice(None)] * 3
        centre, before, after = near.copy(), near.copy(), near.copy()
        centre[axis], before[axis], after[axis] = slice(1, -1), slice(None, -2), slice(2, None)
        sides = noise[tuple(before)] + noise[tuple(after)]
        noise *= 1 - 2 * abs(share)
        noise[tuple(centre)] += share * sides
        gain *= math.sqrt((1 - 2 * abs(float(share))) ** 2 + 2 * float(share) ** 2)
    canvas.hu += noise * np.float32(sigma / gain)
