"""A CT volume: numbers on a grid that knows where it lies in the patient, and where it came from.

Reading brings any file to one canonical array (axes: see `orientation`) without copying or
converting its voxels; what turns stored numbers into HU is kept beside them as slope and intercept.
`to_original` is the way back, so that heat maps and masks can be laid over the file as it was.
"""

import os
import zlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Float64, Shaped

from mg3d.volumes.orientation import axes_of, from_canonical, to_canonical
from mg3d.volumes.readers.dicom import read_series
from mg3d.volumes.readers.image_folder import is_slices, load_slices
from mg3d.volumes.readers.metaimage import is_metaimage, read_metaimage
from mg3d.volumes.readers.nifti import read_nifti
from mg3d.volumes.readers.npz import is_npz, read_npz
from mg3d.volumes.readers.payload import VolumeError
from mg3d.volumes.readers.stored import StoredImage

__all__ = [
    "StoredGrid",
    "Volume",
    "VolumeError",
    "read_slices",
    "read_volume",
    "to_original",
    "write_nifti",
]


@dataclass(frozen=True)
class StoredGrid:
    """The grid of a file as it lies on disk.

    Attributes:
        shape: voxels, in the file's own order of axes.
        affine: index to RAS+ mm.
    """

    shape: tuple[int, int, int]
    affine: Float64[np.ndarray, "4 4"]

    @property
    def axes(self) -> str:
        """Where the axes run to, such as "LPS"."""
        return axes_of(self.affine)


@dataclass(frozen=True)
class Volume:
    """One volume, canonical axes.

    Attributes:
        voxels: numbers as stored.
        affine: index (h, w, d) to RAS+ mm.
        stored: the grid of the file, for the way back.
        source: the file or folder, named in errors.
        slope: value = slope x voxel + intercept. After reading: what the header says. That these
            values are HU is decided by `rescale.decide_rescale`.
        intercept: see `slope`.
        warnings: what is odd about the file but was accepted.
        modality: "CT", "MR", "PT" and so on, where the file says it (DICOM, MetaImage); else "".
    """

    voxels: Shaped[np.ndarray, "H W D"]
    affine: Float64[np.ndarray, "4 4"]
    stored: StoredGrid
    source: Path
    slope: float = 1.0
    intercept: float = 0.0
    warnings: tuple[str, ...] = ()
    modality: str = ""

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distance between neighbours along h, w and d."""
        h, w, d = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(h), float(w), float(d)

    def values(self) -> Float32[np.ndarray, "H W D"]:
        """slope x voxel + intercept, as a new array."""
        return self.voxels.astype(np.float32) * np.float32(self.slope) + np.float32(self.intercept)

    def with_spacing(self, spacing_mm: tuple[float, float, float]) -> "Volume":
        """The same voxels at another spacing, for files whose header has lost it.

        Args:
            spacing_mm: along the axes *of the file*, in its order. The first voxel stays in place.
        """
        affine = self.stored.affine.copy()
        old = np.linalg.norm(affine[:3, :3], axis=0)
        affine[:3, :3] *= np.array(spacing_mm) / old
        warnings = self.warnings
        if np.abs(np.array(spacing_mm) / old - 1).max() > 0.01:
            said, told = (" x ".join(f"{v:.4g}" for v in s) for s in (old, spacing_mm))
            warnings += (f"the header says {said} mm, the metadata {told} mm, which was taken",)
        canonical = to_canonical(np.empty(self.stored.shape, np.bool_), affine)[1]
        stored = StoredGrid(self.stored.shape, affine)
        return replace(self, affine=canonical, stored=stored, warnings=warnings)


def read_volume(path: str | Path, *, series: str | None = None) -> Volume:
    """Read a volume of any format, told apart by what is there.

    A file: NIfTI (`.nii`, `.nii.gz`), MetaImage (`.mha`, `.mhd` with its data file) or an array of
    Rad-ChestCT (`.npz`, whose geometry is known from elsewhere, see `readers.npz`). A folder: one
    DICOM series, or numbered slices saved as JPG or PNG (see `read_slices`).

    Args:
        path: of the file or folder.
        series: SeriesInstanceUID, where a folder holds several DICOM series.

    Raises:
        FileNotFoundError: if there is no such file.
        VolumeError: if it is damaged, or no single 3-D volume with a geometry.
    """
    path = Path(path)
    if path.is_dir():
        image = load_slices(path) if is_slices(path) else read_series(path, series)
    elif is_npz(path):
        image = read_npz(path)
    else:
        image = read_metaimage(path) if is_metaimage(path) else read_nifti(path)
    return _as_volume(image, path)


def read_slices(
    folder: str | Path,
    *,
    first: str = "superior",
    spacing_mm: tuple[float, float, float] | None = None,
) -> Volume:
    """Read a folder of 8-bit slices (JPG or PNG), ordered by the numbers in their names.

    Such images hold grey values, not HU, and no geometry: columns are taken to run to the
    patient's left and rows to the back, as a viewer shows an axial slice.

    Args:
        folder: of one scan.
        first: "superior" or "inferior", where the lowest number lies.
        spacing_mm: along columns, rows and slices, where it is known from elsewhere; else 1 mm.

    Raises:
        VolumeError: if an image is damaged, in colour, of another size, or the order is unclear.
    """
    return _as_volume(load_slices(Path(folder), first=first, spacing_mm=spacing_mm), Path(folder))


def _as_volume(image: StoredImage, path: Path) -> Volume:
    voxels, affine = to_canonical(image.voxels, image.affine)
    columns, rows, slices = image.voxels.shape
    stored = StoredGrid((columns, rows, slices), image.affine)
    return Volume(
        voxels,
        affine,
        stored,
        path,
        image.slope,
        image.intercept,
        warnings=image.warnings,
        modality=image.modality,
    )


def to_original(
    array: Shaped[np.ndarray, "H W D"],
    affine: Float64[np.ndarray, "4 4"],
    stored: StoredGrid,
    *,
    linear: bool = True,
    fill: float = 0.0,
) -> Shaped[np.ndarray, "a b c"]:
    """Bring an array with canonical axes (any grid: the model's, a token map) back to the file's.

    Exact, a mere change of axes, where the grids are the same. Otherwise sampled at the middle of
    every voxel of the file.

    Args:
        array: values on the grid that `affine` places.
        affine: index (h, w, d) to RAS+ mm, such as `GridVolume.affine`.
        stored: grid of the original file (`Volume.stored`).
        linear: interpolate; False takes the nearest value, as masks need.
        fill: where the array does not reach.
    """
    from scipy.ndimage import affine_transform

    view, canonical = to_canonical(np.empty(stored.shape, np.bool_), stored.affine)
    if array.shape == view.shape and np.allclose(affine, canonical, atol=1e-4):
        return from_canonical(array, stored.affine)
    index = np.linalg.inv(affine) @ stored.affine  # index in the file to index in the array
    place = {"matrix": index[:3, :3], "offset": index[:3, 3], "output_shape": stored.shape}
    result = affine_transform(array, **place, order=1 if linear else 0, mode="nearest")
    inside = np.ones(array.shape, np.uint8)
    outside = affine_transform(inside, **place, order=0, mode="grid-constant", cval=0) == 0
    result[outside] = fill
    return result


def write_nifti(
    path: str | Path,
    array: Shaped[np.ndarray, "a b c"],
    affine: Float64[np.ndarray, "4 4"],
    *,
    level: int = 1,
) -> None:
    """Write a NIfTI-1 file (packed where the name ends in .gz), atomically, always the same bytes.

    Args:
        path: its folder is made if it is missing.
        array: in the order of the file's own axes, as `to_original` gives it.
        affine: stored index to RAS+ mm (`StoredGrid.affine`).
        level: of packing, 1 (fast) to 9 (small).
    """
    from nibabel.nifti1 import Nifti1Image

    path = Path(path)
    image = Nifti1Image(array, affine)
    image.header.set_xyzt_units("mm")
    image.set_sform(affine, code=1)
    image.set_qform(affine, code=1, strip_shears=True)
    content = image.to_bytes()
    if path.name.lower().endswith(".gz"):
        packer = zlib.compressobj(level, zlib.DEFLATED, 31)
        content = packer.compress(content) + packer.flush()
    replace_file(path, content)


def replace_file(path: Path, content: bytes) -> None:
    """Write a file so that it is there whole or not at all, also when the process is killed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        unfinished.write_bytes(content)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def remove_unfinished(folder: Path) -> None:
    """Remove what `replace_file` left in a folder when the process was killed."""
    for path in folder.rglob(".*.part"):
        path.unlink(missing_ok=True)
