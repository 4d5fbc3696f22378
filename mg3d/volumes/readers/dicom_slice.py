"""One DICOM file of a series: what its header says of the slice, and its pixels.

Source: DICOM PS3.3, Image Plane Module (C.7.6.2) and CT Image Module (C.8.2.1).
"""

import logging
import struct
import warnings as python_warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Shaped

from mg3d.volumes.readers.payload import VolumeError
from mg3d.volumes.readers.stored import check_scaling

TAGS = [
    *("SOPClassUID", "ImageType", "Modality", "SeriesInstanceUID", "SeriesDescription"),
    *("SeriesNumber", "GantryDetectorTilt", "ImagePositionPatient", "ImageOrientationPatient"),
    *("SamplesPerPixel", "PhotometricInterpretation", "NumberOfFrames", "Rows", "Columns"),
    *("PixelSpacing", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation"),
    *("PixelPaddingValue", "RescaleIntercept", "RescaleSlope", "ModalityLUTSequence"),
]
IMAGE_CLASSES = {  # of storage, where a file without rows and columns is a damaged one
    "1.2.840.10008.5.1.4.1.1.2": "CT",
    "1.2.840.10008.5.1.4.1.1.4": "MR",
    "1.2.840.10008.5.1.4.1.1.128": "PET",
    "1.2.840.10008.5.1.4.1.1.7": "secondary capture",
}
MOST_EDGE = 8192  # pixels


@dataclass(frozen=True)
class SliceHeader:
    """What the header of one file says."""

    path: Path
    series: str
    description: str
    localizer: bool
    rows: int
    columns: int
    pixels: tuple[object, ...]  # how a pixel is stored; the same for all slices of a volume
    bytes_at_least: int  # of the file; 0 where the pixels are compressed
    tilt: float | None  # degrees, as stated
    position: tuple[float, ...]  # LPS mm of the first pixel; empty if unknown
    orientation: tuple[float, ...]  # directions of a row and of a column
    spacing: tuple[float, ...]  # mm between rows, between columns
    rescale: tuple[float, float] | None
    padding: int | None


def read_slice_header(path: Path) -> SliceHeader | None:
    """One file's header; None if it is no image at all.

    Raises:
        VolumeError: if it is damaged, or of a kind that is not read.
    """
    from pydicom import dcmread

    try:
        with _quietly("ignore"):  # each value that matters is checked below
            data = dcmread(path, stop_before_pixels=True, specific_tags=list(TAGS))
            if data.get("Rows") is None or data.get("Columns") is None:
                if str(data.get("SOPClassUID")) not in IMAGE_CLASSES:
                    return None
                raise VolumeError(f"{path}: truncated header, it has no Rows; fetch it again")
            return _facts(path, data)
    except VolumeError:
        raise
    except damaged() as error:
        raise VolumeError(
            f"{path}: damaged DICOM header ({type(error).__name__}: {error}); fetch it again"
        ) from error


def read_pixels(one: SliceHeader) -> Shaped[np.ndarray, "rows columns"]:
    """The stored numbers of one slice.

    Raises:
        VolumeError: if they are cut off, damaged, or packed in a way that nothing here unpacks.
    """
    from pydicom import dcmread

    try:
        with _quietly("error"):  # pixels that are too few or too many
            data = dcmread(one.path)
            pixels = data.pixel_array
    except damaged() as error:
        raise VolumeError(
            f"{one.path}: the pixels cannot be read ({error}); fetch the file again "
            "(compressed slices need the package python-gdcm)"
        ) from error
    if pixels.shape != (one.rows, one.columns):
        raise VolumeError(
            f"{one.path}: {pixels.shape} pixels, expected {one.rows} x {one.columns}; "
            "fetch it again"
        )
    return pixels


def _facts(path: Path, data: Any) -> SliceHeader:
    frames = int(data.get("NumberOfFrames") or 1)
    if frames != 1:
        raise VolumeError(
            f"{path}: a multi-frame file with {frames} frames, expected one slice a file; "
            "convert it to NIfTI (for instance with dcm2niix)"
        )
    rows, columns = int(data.Rows), int(data.Columns)
    if not (0 < rows <= MOST_EDGE and 0 < columns <= MOST_EDGE):
        raise VolumeError(f"{path}: {rows} x {columns} pixels, expected a slice; fetch it again")
    if int(data.get("SamplesPerPixel") or 1) != 1:
        raise VolumeError(f"{path}: a colour image, expected one HU value per pixel")
    if "ModalityLUTSequence" in data:
        raise VolumeError(f"{path}: HU by a look-up table, which is not read; convert it to NIfTI")
    slope, intercept = data.get("RescaleSlope"), data.get("RescaleIntercept")
    stated = [value for value in (slope, intercept) if value is not None]
    rescale = None
    if stated:
        rescale = (float(slope), float(intercept)) if len(stated) == 2 else (np.nan, np.nan)
        if not np.isfinite(rescale).all() or rescale[0] == 0:
            raise VolumeError(
                f"{path}: RescaleSlope {slope} and RescaleIntercept {intercept}, expected two "
                "numbers, the slope not 0; correct the header"
            )
        check_scaling(path, *rescale)
    compressed = bool(data.file_meta.TransferSyntaxUID.is_compressed)
    bits = int(data.BitsAllocated)
    if bits not in (8, 16, 32):
        raise VolumeError(f"{path}: {bits} bits per pixel, expected 8, 16 or 32")
    tilt, padding = data.get("GantryDetectorTilt"), data.get("PixelPaddingValue")
    return SliceHeader(
        path=path,
        series=str(data.get("SeriesInstanceUID") or ""),
        description=str(data.get("SeriesDescription") or "no description"),
        localizer="LOCALIZER" in [str(word).upper() for word in data.get("ImageType") or []],
        rows=rows,
        columns=columns,
        pixels=(
            *(rows, columns, bits, int(data.get("BitsStored") or bits)),
            int(data.get("HighBit") or 0),
            int(data.PixelRepresentation),
            str(data.get("PhotometricInterpretation")),
        ),
        bytes_at_least=0 if compressed else rows * columns * bits // 8,
        tilt=None if tilt is None else float(tilt),
        position=_numbers(path, data, "ImagePositionPatient", 3),
        orientation=_numbers(path, data, "ImageOrientationPatient", 6),
        spacing=_numbers(path, data, "PixelSpacing", 2),
        rescale=rescale,
        padding=None if padding is None else int(padding),
    )


def _numbers(path: Path, data: Any, name: str, count: int) -> tuple[float, ...]:
    """Numbers of one field; none if it is absent or empty."""
    value = data.get(name)
    if value is None or value == "":
        return ()
    numbers = tuple(float(part) for part in value)
    if len(numbers) != count or not np.isfinite(numbers).all():
        raise VolumeError(f"{path}: {name} is {value}, expected {count} numbers; fetch it again")
    return numbers


def damaged() -> tuple[type[Exception], ...]:
    """What pydicom and the decoders behind it raise on damaged bytes."""
    from pydicom.errors import BytesLengthException, InvalidDicomError

    return (
        *(ArithmeticError, AssertionError, AttributeError, EOFError, LookupError, MemoryError),
        *(OSError, RuntimeError, TypeError, ValueError, struct.error, zlib.error),
        *(BytesLengthException, InvalidDicomError, UserWarning),
    )


@contextmanager
def _quietly(action: Literal["ignore", "error"]) -> Iterator[None]:
    """Nothing of a file (a name may be in it) reaches the log; what is wrong is raised."""
    log = logging.getLogger("pydicom")
    before = log.level
    log.setLevel(logging.CRITICAL + 1)
    try:
        with python_warnings.catch_warnings():
            python_warnings.simplefilter(action)
            yield
    finally:
        log.setLevel(before)
