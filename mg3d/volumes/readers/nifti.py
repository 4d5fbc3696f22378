"""What a NIfTI header says about the voxels behind it, each field checked before it is believed.

Source: NIfTI-1 and NIfTI-2 definitions (nifti1.h, nifti2.h). The geometry is read in
`nifti_geometry`.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Float64

from mg3d.volumes.readers.dicom_file import START, is_dicom
from mg3d.volumes.readers.nifti_geometry import read_affine
from mg3d.volumes.readers.payload import Payload, VolumeError, open_payload
from mg3d.volumes.readers.stored import StoredImage, check_scaling, check_voxels

DTYPES = {2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4",
          1024: "i8", 1280: "u8"}  # fmt: skip
OTHER_TYPES = {32: "complex", 128: "colour (RGB)", 1536: "128-bit float", 1792: "complex",
               2048: "complex", 2304: "colour (RGBA)", 1: "1-bit"}  # fmt: skip


@dataclass(frozen=True)
class NiftiHeader:
    """The facts of a header that reading the voxels needs.

    Attributes:
        shape: of the stored array, three axes.
        dtype: of the stored numbers, byte order included.
        offset: byte at which the voxels start.
        slope: value = slope x stored + intercept; 1 and 0 where the header says nothing.
        intercept: see `slope`.
        affine: stored index to RAS+ mm.
        warnings: what is odd but was accepted, and how it was understood.
    """

    shape: tuple[int, int, int]
    dtype: np.dtype
    offset: int
    slope: float
    intercept: float
    affine: Float64[np.ndarray, "4 4"]
    warnings: tuple[str, ...]


def read_nifti(path: Path) -> StoredImage:
    """Read a `.nii` or `.nii.gz` file: any number type, byte order, NIfTI-1 or -2.

    Raises:
        FileNotFoundError: if there is no such file.
        VolumeError: if the file is damaged, or no single 3-D volume with a geometry.
    """
    with open_payload(path) as payload:
        header = read_header(payload)
        warnings = header.warnings
        if path.name.lower().endswith(".gz") and not payload.packed:
            warnings += ("named .gz but not packed; read as it is",)
        payload.skip(header.offset - payload.position)
        stored = payload.fill_array(header.shape[::-1], header.dtype)  # x runs fastest
        left = payload.finish()
    if left:
        warnings += (f"{left:,} bytes after the voxels were not read",)
    image = StoredImage(stored.T, header.affine, header.slope, header.intercept, warnings)
    return check_voxels(path, image)


def read_header(payload: Payload) -> NiftiHeader:
    """Read and check the header at the start of a file.

    Raises:
        VolumeError: if it is none, or describes no 3-D volume with one number per voxel.
    """
    from nibabel.nifti1 import Nifti1Header
    from nibabel.nifti2 import Nifti2Header

    path, start = payload.path, payload.read(4)
    orders: tuple[Literal["<", ">"], ...] = ("<", ">")
    for order in orders:
        version = {348: Nifti1Header, 540: Nifti2Header}.get(
            int.from_bytes(start, "little" if order == "<" else "big")
        )
        if version:
            break
    else:
        if is_dicom(start + payload.read(START - 4)):
            raise VolumeError(
                f"{path}: one file of a DICOM series, expected a volume; give the folder of its "
                "slices"
            )
        raise VolumeError(
            f"{path}: not a NIfTI file (its first bytes are not those of a header); give a .nii or "
            ".nii.gz volume"
        )
    size = version.sizeof_hdr
    block = start + payload.read(size - 4)
    if len(block) < size:
        raise VolumeError(
            f"{path}: the header should have {size} bytes, got {len(block)}; fetch the file again"
        )
    raw = version(block, endianness=order, check=False)
    magic = bytes(raw["magic"].tobytes()[:3])
    if magic not in (b"n+1", b"n+2"):
        raise VolumeError(
            f"{path}: expected a NIfTI file in one piece, but its magic is another (an ANALYZE "
            "file or a .hdr/.img pair?); convert it to .nii.gz"
        )
    warnings: list[str] = []
    shape = _shape(path, raw, warnings)
    dtype = _dtype(path, raw).newbyteorder(order)
    offset = float(raw["vox_offset"])
    if not 0 <= offset <= payload.most:
        raise VolumeError(f"{path}: the voxels cannot start at byte {offset}; fetch the file again")
    promised = int(np.prod(shape, dtype=object)) * dtype.itemsize
    if promised > payload.most:
        raise VolumeError(
            f"{path}: the header promises {shape} voxels, {promised:,} bytes, more than this file "
            f"can hold (at most {payload.most:,}): short payload or a wrong header; "
            "fetch the file again"
        )
    slope, intercept = _scaling(raw, warnings)
    check_scaling(path, slope, intercept)
    affine = read_affine(path, raw, shape, warnings)
    return NiftiHeader(
        shape, dtype, max(int(offset), size + 4), slope, intercept, affine, tuple(warnings)
    )


def _shape(path: Path, raw: Any, warnings: list[str]) -> tuple[int, int, int]:
    """The three axes; further axes of length 1 are dropped."""
    rank = int(raw["dim"][0])
    if not 1 <= rank <= 7:
        raise VolumeError(f"{path}: {rank} axes, expected 3; the header is damaged")
    dims = [int(n) for n in raw["dim"][1 : rank + 1]]
    if any(n < 1 for n in dims):
        raise VolumeError(f"{path}: axes of length {dims}, expected 1 or more; wrong header")
    if rank < 3:
        raise VolumeError(f"{path}: {rank}-D image {tuple(dims)}, expected a volume (3-D)")
    if any(n > 1 for n in dims[3:]):
        frames = int(np.prod(dims[3:], dtype=object))
        raise VolumeError(
            f"{path}: {rank}-D volume with {frames} frames, expected 3-D; "
            "save the frame you mean as a file of its own"
        )
    if min(dims[:3]) == 1:
        raise VolumeError(f"{path}: one slice only ({tuple(dims[:3])}), expected a volume")
    if rank > 3:
        warnings.append(f"{rank}-D with further axes of length 1, which were dropped")
    return dims[0], dims[1], dims[2]


def _dtype(path: Path, raw: Any) -> np.dtype:
    code = int(raw["datatype"])
    if code not in DTYPES:
        kind = OTHER_TYPES.get(code, "unknown")
        raise VolumeError(
            f"{path}: {kind} voxels (NIfTI type {code}), expected one HU value per voxel; "
            f"types that are read: {', '.join(str(np.dtype(d)) for d in DTYPES.values())}"
        )
    return np.dtype(DTYPES[code])


def _scaling(raw: Any, warnings: list[str]) -> tuple[float, float]:
    """Slope and intercept; a slope of 0 and two NaNs both mean "not scaled"."""
    slope, intercept = float(raw["scl_slope"]), float(raw["scl_inter"])
    if slope == 0 or (np.isnan(slope) and np.isnan(intercept)):
        return 1.0, 0.0
    if not (np.isfinite(slope) and np.isfinite(intercept)):
        warnings.append(f"scl_slope {slope} and scl_inter {intercept} taken as 'not scaled'")
        return 1.0, 0.0
    return slope, intercept
