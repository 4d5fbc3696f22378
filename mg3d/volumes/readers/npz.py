"""An .npz of Rad-ChestCT: a zip with one array of HU, and no word about where it lies.

The geometry is the one that the data set's published preprocessing gives every array: 0.8 mm along
all axes; axis 0 runs from superior to inferior, 1 from anterior to posterior, 2 from the patient's
right to left. No other .npz is read, since nothing in it would say how it lies, and each volume
carries a warning that its geometry is taken from there.

Source: the authors' preprocessing (github.com/rachellea/ct-volume-preprocessing) asserts
ImageOrientationPatient 1, 0, 0, 0, 1, 0 and sorts slices by falling z; Draelos et al., Medical
Image Analysis 2021. The position in the scanner is not kept: the centre is put at 0.
"""

import math
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from jaxtyping import Float64, Shaped

from mg3d.volumes.readers.payload import MOST_EXPANSION, VolumeError
from mg3d.volumes.readers.stored import StoredImage, check_geometry, check_voxels

KEY = "ct"
SPACING_MM = 0.8
ENDS = (-1000, 1000)  # HU; the published arrays are clipped
ASSUMED = (
    "an .npz states no geometry: 0.8 mm and axes to inferior, posterior, left are those of "
    "Rad-ChestCT's preprocessing"
)
AGAIN = "fetch the file again"


def is_npz(path: Path) -> bool:
    """Whether the name says so."""
    return path.suffix.lower() == ".npz"


def read_npz(path: Path) -> StoredImage:
    """Read the array `ct` of an archive; nothing is unpickled, and sizes are checked first.

    Raises:
        FileNotFoundError: if there is no such file.
        VolumeError: if it is no such archive, damaged, or the array is no volume of numbers.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing; {AGAIN}")
    with _named_errors(path), zipfile.ZipFile(path) as archive:
        names = [name for name in archive.namelist() if name.endswith(".npy")]
        if f"{KEY}.npy" not in names:
            raise VolumeError(
                f"{path}: no array '{KEY}' in it ({len(names)} others); only the .npz files of "
                "Rad-ChestCT are read, since an .npz states no geometry; save it as NIfTI"
            )
        member = archive.getinfo(f"{KEY}.npy")
        voxels = _read_array(path, archive, member)
    affine = affine_of(voxels.shape)
    warnings = (ASSUMED, *check_geometry(path, affine, voxels.shape))
    low, high = voxels.min(), voxels.max()
    if voxels.dtype.kind == "i" and (low < ENDS[0] or high > ENDS[1]):
        warnings += (
            f"values {low} to {high}, but the published arrays are clipped to {ENDS[0]} to "
            f"{ENDS[1]} HU",
        )
    return check_voxels(path, StoredImage(voxels, affine, warnings=warnings))


def affine_of(shape: tuple[int, int, int]) -> Float64[np.ndarray, "4 4"]:
    """Index of a published array to RAS+ mm, its centre at 0.

    Args:
        shape: slices, rows, columns.
    """
    affine = np.zeros((4, 4))
    affine[2, 0] = affine[1, 1] = affine[0, 2] = -SPACING_MM  # to inferior, posterior, left
    affine[:3, 3] = -affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    affine[3, 3] = 1
    return affine


def _read_array(
    path: Path, archive: zipfile.ZipFile, member: zipfile.ZipInfo
) -> Shaped[np.ndarray, "a b c"]:
    """The array behind a .npy header, after the header is believed."""
    from numpy.lib import format as npy

    read_header = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
    with archive.open(member) as file:
        version = npy.read_magic(file)
        if version not in read_header:
            raise VolumeError(f"{path}: .npy version {version} is not read; save it as NIfTI")
        shape, by_columns, dtype = read_header[version](file)
        if dtype.kind not in "iuf" or len(shape) != 3:
            raise VolumeError(
                f"{path}: expected a 3-D array of numbers, got {len(shape)} axes of kind "
                f"'{dtype.kind}' ({dtype.itemsize} bytes each); {AGAIN}"
            )
        size = math.prod(shape) * dtype.itemsize
        held = min(member.file_size - file.tell(), member.compress_size * MOST_EXPANSION)
        if not 0 < size <= held:
            raise VolumeError(
                f"{path}: shape {shape} needs {size:,} bytes, but the archive holds at most "
                f"{held:,}; it is cut off or damaged; {AGAIN}"
            )
        content = file.read()  # to the end, so that the checksum is compared
    if len(content) != size:
        raise VolumeError(
            f"{path}: expected {size:,} bytes of voxels, got {len(content):,}; {AGAIN}"
        )
    array = np.frombuffer(content, dtype).reshape(shape, order="F" if by_columns else "C")
    # A copy only where needed: NaN of floats are replaced in place.
    return array.astype(dtype.newbyteorder("="), copy=dtype.kind == "f")


@contextmanager
def _named_errors(path: Path) -> Iterator[None]:
    """Whatever zipfile and numpy say about a damaged file, as one line that names it."""
    try:
        yield
    except VolumeError:
        raise
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError) as error:
        raise VolumeError(f"{path}: {_what_it_is(path)}; {AGAIN}") from error
    except (ValueError, RuntimeError) as error:  # a bad .npy header; an encrypted archive
        raise VolumeError(f"{path}: the array in it cannot be read; {AGAIN}") from error


def _what_it_is(path: Path) -> str:
    with path.open("rb") as file:
        head = file.read(512)
    if not head:
        return "empty file (0 bytes)"
    if head.startswith(b"version https://git-lfs"):
        return "a Git LFS pointer in place of the volume"
    if head.lstrip().lower().startswith((b"<!doctype", b"<html", b"<?xml")):
        return "a web page in place of the volume (was a login asked for?)"
    return "no .npz archive, cut off, or its checksum does not match"
