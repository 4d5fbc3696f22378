"""From a scan of any size to the model's grid: crop or pad around the centre, and resample.

Resampling is linear and antialiased: each new voxel is a weighted mean under a triangle as wide as
the coarser of the two grids, so that nothing between two new voxels is lost. The weights of the
three axes are independent, so it is three small matrix products; they run slab by slab, and the
whole scan is never held as floating point numbers. What lies outside the scan is air.

Source: `paper` grid: MG-3D's released loading code (central crop, then 128 x 96 x 128).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Float32, Float64, Shaped, UInt8

from mg3d.volumes.volume import Volume

AIR = -1000.0  # HU
HU_RANGE = (-1024.0, 3071.0)  # of 12 bits; padding below and metal above do not bleed into tissue
SLAB_BYTES = 2 << 20  # of a slab in float32; it stays in the processor's cache
BLOCK = 16  # new voxels of an axis made at a time: a block reaches few old ones
MASK_SHARE = 0.25  # of a new voxel that a finding must fill to be marked there


@dataclass(frozen=True)
class Grid:
    """The voxels a model sees; axes h, w, d.

    Attributes:
        shape: voxels. None: the whole scan, however many voxels that is.
        spacing_mm: of the new voxels, laid around the centre of the scan; None on one axis keeps
            the scan's own. None for all: with a shape, the central `crop` of the scan is stretched
            to it, whatever its size in mm; without one, nothing is resampled.
        crop: central share kept of each axis; only with a shape and without `spacing_mm`.
    """

    shape: tuple[int, int, int] | None
    spacing_mm: tuple[float | None, float | None, float | None] | None = None
    crop: tuple[float, float, float] = (1.0, 1.0, 1.0)

    def __post_init__(self) -> None:
        if self.shape is not None and (len(self.shape) != 3 or min(self.shape) < 1):
            raise ValueError(f"a grid has three axes of 1 voxel or more, got {self.shape}")
        if self.shape is None and tuple(self.crop) != (1.0, 1.0, 1.0):
            raise ValueError(f"crop {self.crop} needs a shape; without one, the whole scan is kept")
        if self.spacing_mm is not None:
            given = [1.0 if s is None else s for s in self.spacing_mm]
            if len(given) != 3 or not all(0 < s < 1000 for s in given):
                raise ValueError(
                    "spacing_mm is three lengths above 0, or None to stretch; "
                    f"got {self.spacing_mm}"
                )
            if tuple(self.crop) != (1.0, 1.0, 1.0):
                raise ValueError(
                    f"crop {self.crop} and spacing_mm {self.spacing_mm} exclude each other; with a "
                    "spacing, the shape says how much is kept"
                )
        if len(self.crop) != 3 or not all(0 < share <= 1 for share in self.crop):
            raise ValueError(f"crop is three shares above 0 and up to 1, got {self.crop}")


@dataclass(frozen=True)
class GridVolume:
    """A volume on the model's grid.

    Attributes:
        voxels: HU.
        affine: index (h, w, d) to RAS+ mm.
    """

    voxels: Float32[np.ndarray, "H W D"]
    affine: Float64[np.ndarray, "4 4"]


@dataclass(frozen=True)
class _Block:
    """Some neighbouring new voxels of an axis, and the old ones that they are made of."""

    new: slice
    old: slice
    weights: Float32[np.ndarray, "new old"]

    def within(self, cropped: slice) -> slice:
        """`old`, counted from the start of a crop."""
        return slice(self.old.start - cropped.start, self.old.stop - cropped.start)


@dataclass(frozen=True)
class _Axis:
    """New voxel i of an axis is centred at `start + (i + 0.5) * step`, old voxels from the edge."""

    start: float
    step: float
    size: int
    old: int

    def weights(self) -> Float32[np.ndarray, "new old"]:
        """How much each old voxel counts; a row sums to the share of the new voxel in the scan."""
        middle = self.start + (np.arange(self.size) + 0.5) * self.step
        reach = max(1.0, self.step)
        distance = np.abs(np.arange(self.old) + 0.5 - middle[:, None])
        weight = np.maximum(0.0, 1.0 - distance / reach)
        total = weight.sum(axis=1, keepdims=True)
        first, last = middle - self.step / 2, middle + self.step / 2
        inside = np.clip(np.minimum(last, self.old) - np.maximum(first, 0), 0, None) / self.step
        weight *= np.where(inside > 0, inside, 0)[:, None] / np.where(total > 0, total, 1)
        return weight.astype(np.float32)

    def blocks(self) -> list[_Block]:
        """The weights without most of their zeros; no block where all new voxels are outside."""
        weights, blocks = self.weights(), []
        for start in range(0, self.size, BLOCK):
            part = weights[start : start + BLOCK]
            used = np.flatnonzero(part.any(axis=0))
            if len(used):
                old = slice(int(used[0]), int(used[-1]) + 1)
                blocks.append(_Block(slice(start, start + len(part)), old, part[:, old]))
        return blocks


def to_grid(volume: Volume, grid: Grid) -> GridVolume:
    """Bring a volume, its values in HU, to the model's grid.

    Args:
        volume: rescaled to HU (`rescale.rescale`).
        grid: where to.
    """
    axes = _place(volume, grid)
    slope, intercept = np.float32(volume.slope), np.float32(volume.intercept)
    low, high = (np.float32(limit - AIR) for limit in HU_RANGE)

    def above_air(slab: np.ndarray) -> np.ndarray:
        hu = slab.astype(np.float32)
        if slope != 1:
            hu *= slope
        hu += intercept - np.float32(AIR)
        return np.clip(hu, low, high, out=hu)

    voxels = _resample(volume.voxels, axes, above_air)
    voxels += np.float32(AIR)
    return GridVolume(voxels, _affine(volume, axes))


def affine_on_grid(volume: Volume, grid: Grid) -> Float64[np.ndarray, "4 4"]:
    """Index (h, w, d) of the grid to RAS+ mm, as `to_grid` gives it; reads no voxel."""
    return _affine(volume, _place(volume, grid))


def masks_to_grid(
    masks: Volume, grid: Grid, num_findings: int, share: float = MASK_SHARE
) -> Shaped[np.ndarray, "H W D"]:
    """Bring a bit field (bit k set = finding k is there) to the model's grid, as int32.

    A new voxel belongs to a finding that fills at least `share` of it. The voxel it fills most
    belongs to it in any case, so that a small finding does not vanish.

    Args:
        masks: integers, on any grid of the same scan.
        grid: the model's.
        num_findings: bits 0 to num_findings - 1 are looked at.
        share: 0 to 1.
    """
    axes = _place(masks, grid)
    field = np.zeros([axis.size for axis in axes], np.int32)
    present = int(np.bitwise_or.reduce(masks.voxels, axis=None))
    for bit in range(num_findings):
        if present >> bit & 1:

            def is_there(slab: np.ndarray, bit: int = bit) -> np.ndarray:
                return (slab >> bit & 1).astype(np.float32)

            cover = _resample(masks.voxels, axes, is_there)
            most = cover.max()
            if most > 0:
                there: Bool[np.ndarray, "H W D"] = cover >= min(share, most)
                field |= there.astype(np.int32) << bit
    return field


def classes_to_grid(masks: Volume, grid: Grid, num_classes: int) -> UInt8[np.ndarray, "H W D"]:
    """Bring a class map (0 background, 1 to num_classes) to the model's grid.

    A new voxel gets the class, background included, that fills most of it. The voxel that a class
    fills most belongs to it in any case, so that a small structure does not vanish. Where nothing
    is resampled, the map is copied exactly.

    Args:
        masks: whole numbers, on any grid of the same scan.
        grid: the model's.
        num_classes: without the background.
    """
    axes = _place(masks, grid)
    shape = tuple(axis.size for axis in axes)
    most, field = np.zeros(shape, np.float32), np.zeros(shape, np.uint8)
    filled, fullest = np.zeros(shape, np.float32), []
    for number in range(1, num_classes + 1):

        def is_there(slab: np.ndarray, number: int = number) -> np.ndarray:
            return (slab == number).astype(np.float32)

        cover = _resample(masks.voxels, axes, is_there)
        if cover.max() > 0:
            field[cover > most] = number
            np.maximum(most, cover, out=most)
            filled += cover
            fullest.append((number, int(cover.argmax())))
    field[1 - filled > most] = 0
    for number, place in fullest:
        if not (field == number).any():
            field.flat[place] = number
    return field


def hu_to_unit(
    hu: Float[np.ndarray, "..."], window: tuple[float, float]
) -> Float32[np.ndarray, "..."]:
    """0 at the lower end of the HU window, 1 at the upper, clipped."""
    low, high = window
    unit = np.subtract(hu, low)
    unit /= high - low
    return np.clip(unit, 0, 1, out=unit).astype(np.float32, copy=False)


def unit_to_hu(
    unit: Float[np.ndarray, "..."], window: tuple[float, float]
) -> Float32[np.ndarray, "..."]:
    """The way back, within the window."""
    low, high = window
    return (np.asarray(unit) * (high - low) + low).astype(np.float32)


def quantise(unit: Float[np.ndarray, "..."]) -> UInt8[np.ndarray, "..."]:
    """0 to 1 as 0 to 255, rounded."""
    byte = np.multiply(unit, 255)
    return np.rint(byte, out=byte).astype(np.uint8)


def pack_voxels(
    hu: Float32[np.ndarray, "H W D"], window: tuple[float, float], dtype: str
) -> Shaped[np.ndarray, "H W D"]:
    """The HU window as 0 to 255 (uint8) or 0 to 1 (another type), slab by slab."""
    packed = np.empty(hu.shape, dtype)
    for slab in _slabs(hu.shape):
        unit = hu_to_unit(hu[slab], window)
        packed[slab] = quantise(unit) if dtype == "uint8" else unit
    return packed


def _place(volume: Volume, grid: Grid) -> tuple[_Axis, _Axis, _Axis]:
    """Where the new voxels lie along each axis; the centres of scan and grid coincide."""
    axes = []
    for axis in range(3):
        old, own = volume.voxels.shape[axis], volume.spacing_mm[axis]
        if grid.spacing_mm is None:
            step = grid.crop[axis] * old / grid.shape[axis] if grid.shape else 1.0
        else:
            step = (grid.spacing_mm[axis] or own) / own
            # A header's float32 spacing is not quite the number meant; equal grids copy exactly.
            step = 1.0 if abs(step - 1) < 1e-5 else step
        size = grid.shape[axis] if grid.shape else max(1, round(old / step))
        axes.append(_Axis((old - size * step) / 2, step, size, old))
    return axes[0], axes[1], axes[2]


def _affine(volume: Volume, axes: tuple[_Axis, _Axis, _Axis]) -> Float64[np.ndarray, "4 4"]:
    index = np.eye(4)  # new index to old index
    for number, axis in enumerate(axes):
        index[number, number] = axis.step
        index[number, 3] = axis.start + axis.step / 2 - 0.5
    return volume.affine @ index


def _resample(
    voxels: Shaped[np.ndarray, "H W D"], axes: tuple[_Axis, _Axis, _Axis], convert: Any
) -> Float32[np.ndarray, "h w d"]:
    """Weighted means along d, then w, slab by slab; then h. Always in this order."""
    along_h, along_w, along_d = (axis.blocks() for axis in axes)
    result = np.zeros([axis.size for axis in axes], np.float32)
    if not (along_w and along_d):
        return result
    columns = slice(along_w[0].old.start, along_w[-1].old.stop)
    depths = slice(along_d[0].old.start, along_d[-1].old.stop)
    most = max((block.weights.shape[1] for block in along_h), default=0)
    space = np.zeros((most, *result.shape[1:]), np.float32)  # one for all: new memory is slow
    with _one_thread():
        for block in along_h:
            cropped = voxels[block.old, columns, depths]
            thin = space[: len(cropped)]
            for slab in _slabs(cropped.shape):
                values = convert(cropped[slab])
                narrow = np.zeros((*values.shape[:2], thin.shape[2]), np.float32)
                for part in along_d:
                    narrow[..., part.new] = values[..., part.within(depths)] @ part.weights.T
                for part in along_w:
                    thin[slab, part.new] = part.weights @ narrow[:, part.within(columns)]
            new = result[block.new]
            np.matmul(block.weights, thin.reshape(len(thin), -1), out=new.reshape(len(new), -1))
    return result


def _slabs(shape: tuple[int, ...]) -> Iterator[slice]:
    step = max(1, SLAB_BYTES // (4 * shape[1] * shape[2]))
    for start in range(0, shape[0], step):
        yield slice(start, min(start + step, shape[0]))


@cache
def _threads() -> Any:
    """Looking for the BLAS in use takes milliseconds, so once."""
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


def _one_thread() -> Any:
    """Sums in one order on any machine: the products are too small to gain from more threads."""
    return _threads().limit(limits=1, user_api="blas")
