"""What the header of one DICOM file says of its slice, each value checked before it is believed.

Messages hold names of the standard and numbers that were read as numbers, never text of a header.

Source: DICOM PS3.3, Image Plane (C.7.6.2), Image Pixel (C.7.6.3) and CT Image Module (C.8.2.1).
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from mg3d.volumes.readers.dicom_file import damaged, open_dicom, reading
from mg3d.volumes.readers.payload import VolumeError
from mg3d.volumes.readers.stored import MODALITIES, check_scaling

IDENTITY = (  # one value in one series
    *("StudyInstanceUID", "FrameOfReferenceUID", "PatientID", "PatientPosition"),
)
MARKS = (  # what may differ from one pass to the next
    *("AcquisitionNumber", "EchoNumbers", "TemporalPositionIdentifier", "StackID", "ImageType"),
    *("KVP", "ConvolutionKernel", "EchoTime", "InversionTime", "DiffusionBValue", "FlipAngle"),
    *("SeriesNumber", "SeriesDescription", "ProtocolName", "FilterType", "AcquisitionDate"),
    *("SliceThickness", "ReconstructionDiameter", "SeriesTime", "ScanOptions"),
    *("ContrastBolusAgent", "NominalPercentageOfCardiacPhase"),
)
CLOCKS = (  # what runs on while slices are taken
    *("AcquisitionTime", "ContentTime", "AcquisitionDateTime", "TriggerTime", "InstanceNumber"),
)
TAGS = (
    *("SOPClassUID", "Modality", "SeriesInstanceUID", "GantryDetectorTilt"),
    *("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"),
    *("SamplesPerPixel", "PhotometricInterpretation", "NumberOfFrames", "Rows", "Columns"),
    *("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation"),
    *("PixelPaddingValue", "PixelPaddingRangeLimit"),
    *("RescaleIntercept", "RescaleSlope", "RescaleType", "ModalityLUTSequence"),
    *(*IDENTITY, *MARKS, *CLOCKS),
)
IMAGE_CLASSES = {  # of storage, where a file without rows and columns is a damaged one
    "1.2.840.10008.5.1.4.1.1.2": "CT",
    "1.2.840.10008.5.1.4.1.1.4": "MR",
    "1.2.840.10008.5.1.4.1.1.128": "PT",
    "1.2.840.10008.5.1.4.1.1.7": "secondary capture",
}
BESIDE = (  # classes of storage that stand beside slices, by how their UIDs start
    "1.2.840.10008.5.1.4.1.1.66",  # registrations, segmentations, surfaces
    "1.2.840.10008.5.1.4.1.1.481",  # radiotherapy: dose, structures, plans
    "1.2.840.10008.5.1.4.1.1.11.",  # how to present
)
HU_TYPES = ("", "HU", "HU_MOD", "US")  # of RescaleType; US: unspecified
MOST_EDGE = 8192  # pixels


@dataclass(frozen=True)
class PixelForm:
    """How a pixel is stored; the same for all slices of a volume."""

    rows: int
    columns: int
    bits: int  # of a word
    bits_stored: int  # the lowest ones hold the number
    signed: bool
    inverted: bool  # MONOCHROME1: shown bright for low; the numbers mean the same

    def __str__(self) -> str:
        sign = "signed" if self.signed else "unsigned"
        inverted = ", MONOCHROME1" if self.inverted else ""
        return (
            f"{self.rows} x {self.columns} of {self.bits_stored} in {self.bits} bits, {sign}"
            f"{inverted}"
        )


@dataclass(frozen=True)
class SliceHeader:
    """What the header of one file says."""

    path: Path
    series: str
    described: bool  # there is a SeriesDescription, which is free text and never shown
    localizer: bool
    modality: str  # "CT", "MR", ...; "" if unknown
    pixels: PixelForm
    bytes_at_least: int  # of the file; 0 where the pixels are packed
    compressed: bool
    guessed: bool  # the file states no transfer syntax
    tilt: float | None  # degrees, as stated
    position: tuple[float, ...]  # LPS mm of the first pixel; empty if unknown
    orientation: tuple[float, ...]  # directions of a row and of a column
    spacing: tuple[float, ...]  # mm between rows, between columns
    rescale: tuple[float, float] | None
    padding: tuple[int, int] | None  # first and last word that means "no pixel"
    identity: dict[str, str]  # of `IDENTITY`, as stated
    marks: dict[str, str]  # of `MARKS`
    clocks: dict[str, float]  # of `CLOCKS`: seconds, ms for TriggerTime; NaN if unknown


def read_slice_header(path: Path, series: str | None = None) -> SliceHeader | None:
    """One file's header; None if it is no slice: no image, drawn on slices, or a picture of a page.

    Args:
        path: of the file.
        series: the one that is read, if it was chosen: a file of another that cannot be read is no
            slice of it.

    Raises:
        VolumeError: if it is damaged, or of a kind that is not read.
    """
    try:
        with reading():
            data, guessed = open_dicom(path, _tags(TAGS))
            if data.get("Rows") is None or data.get("Columns") is None:
                if str(data.get("SOPClassUID")) not in IMAGE_CLASSES:
                    return None
                raise VolumeError(f"{path}: truncated header, it has no Rows; fetch it again")
            if _is_beside(data):
                return None
            try:
                return _facts(path, data, guessed)
            except VolumeError:
                if series is None or str(data.get("SeriesInstanceUID") or "") == series:
                    raise
                return None
    except VolumeError:
        raise
    except damaged() as error:
        raise VolumeError(
            f"{path}: damaged DICOM header ({type(error).__name__}); fetch it again"
        ) from error


def _is_beside(data: Any) -> bool:
    """Whether an image is none of a scanner's: a segmentation, a dose, a page in colour."""
    kind, colours = str(data.get("SOPClassUID")), int(data.get("SamplesPerPixel") or 1)
    if kind.startswith(BESIDE):
        return True
    return colours > 1 and IMAGE_CLASSES.get(kind) == "secondary capture"


def _facts(path: Path, data: Any, guessed: bool) -> SliceHeader:
    frames = int(data.get("NumberOfFrames") or 1)
    if frames != 1:
        raise VolumeError(
            f"{path}: a multi-frame file with {frames} frames, expected one slice a file; "
            "convert it to NIfTI (for instance with dcm2niix)"
        )
    if "ModalityLUTSequence" in data:
        raise VolumeError(f"{path}: HU by a look-up table, which is not read; convert it to NIfTI")
    form = _form(path, data)
    syntax, tilt = data.file_meta.TransferSyntaxUID, data.get("GantryDetectorTilt")
    packed = bool(syntax.is_compressed) or syntax.is_deflated or guessed
    return SliceHeader(
        path=path,
        series=str(data.get("SeriesInstanceUID") or ""),
        described=bool(data.get("SeriesDescription")),
        localizer="LOCALIZER" in _texts(data, ("ImageType",))[0].upper(),
        modality=_modality(data),
        pixels=form,
        bytes_at_least=0 if packed else form.rows * form.columns * form.bits // 8,
        compressed=bool(syntax.is_compressed),
        guessed=guessed,
        tilt=None if tilt is None else float(tilt),
        position=_numbers(path, data, "ImagePositionPatient", 3),
        orientation=_numbers(path, data, "ImageOrientationPatient", 6),
        spacing=_numbers(path, data, "PixelSpacing", 2),
        rescale=_rescale(path, data),
        padding=_padding(data),
        identity=dict(zip(IDENTITY, _texts(data, IDENTITY), strict=True)),
        marks=dict(zip(MARKS, _texts(data, MARKS), strict=True)),
        clocks=dict(zip(CLOCKS, map(_clock, CLOCKS, _texts(data, CLOCKS)), strict=True)),
    )


def _form(path: Path, data: Any) -> PixelForm:
    rows, columns = int(data.Rows), int(data.Columns)
    if not (0 < rows <= MOST_EDGE and 0 < columns <= MOST_EDGE):
        raise VolumeError(f"{path}: {rows} x {columns} pixels, expected a slice; fetch it again")
    shown = str(data.get("PhotometricInterpretation") or "MONOCHROME2").upper()
    if int(data.get("SamplesPerPixel") or 1) != 1 or not shown.startswith("MONOCHROME"):
        raise VolumeError(f"{path}: a colour image, expected one HU value per pixel")
    bits = int(data.BitsAllocated)
    if bits not in (8, 16, 32):
        raise VolumeError(f"{path}: {bits} bits per pixel, expected 8, 16 or 32")
    stored = int(data.get("BitsStored") or bits)
    high = data.get("HighBit")
    high = stored - 1 if high is None else int(high)
    if not 0 < stored <= bits or high != stored - 1:
        raise VolumeError(
            f"{path}: {stored} bits stored up to bit {high} of {bits}, expected them in the lowest "
            f"ones (HighBit {stored - 1}): left-aligned pixels are not read; convert the series"
        )
    sign = int(data.PixelRepresentation)
    if sign not in (0, 1):
        raise VolumeError(f"{path}: PixelRepresentation is {sign}, expected 0 or 1")
    return PixelForm(rows, columns, bits, stored, bool(sign), shown == "MONOCHROME1")


def _modality(data: Any) -> str:
    """What made the image, by the header and by the class of storage; "" if neither says."""
    told = str(data.get("Modality") or "").strip().upper()
    stored_as = IMAGE_CLASSES.get(str(data.get("SOPClassUID")), "")
    if told and told not in MODALITIES:
        return "another"
    if stored_as in ("MR", "PT") or not told:
        told = stored_as if stored_as in MODALITIES else ""
    if told == "CT" and _texts(data, ("RescaleType",))[0].upper() not in HU_TYPES:
        return "CT with a RescaleType other than HU"
    return told


def _rescale(path: Path, data: Any) -> tuple[float, float] | None:
    slope, intercept = (
        None if data.get(name) is None else float(data.get(name))
        for name in ("RescaleSlope", "RescaleIntercept")
    )
    if slope is None and intercept is None:
        return None
    if slope is None or intercept is None or not np.isfinite([slope, intercept]).all() or not slope:
        raise VolumeError(
            f"{path}: RescaleSlope {slope} and RescaleIntercept {intercept}, expected two numbers, "
            "the slope not 0; correct the header"
        )
    check_scaling(path, slope, intercept)
    return slope, intercept


def _padding(data: Any) -> tuple[int, int] | None:
    value, limit = data.get("PixelPaddingValue"), data.get("PixelPaddingRangeLimit")
    if value is None:
        return None
    return int(value), int(value if limit is None else limit)


def _numbers(path: Path, data: Any, name: str, count: int) -> tuple[float, ...]:
    """Numbers of one field; none if it is absent or empty."""
    value = data.get(name)
    if value is None or value == "":
        return ()
    numbers = tuple(float(part) for part in value)
    if len(numbers) != count or not np.isfinite(numbers).all():
        raise VolumeError(f"{path}: {name} does not hold {count} numbers; fetch it again")
    return numbers


@cache
def _tags(names: tuple[str, ...]) -> tuple[Any, ...]:
    from pydicom.tag import Tag

    return tuple(map(Tag, names))


def _texts(data: Any, names: tuple[str, ...]) -> list[str]:
    """Fields as they are written, to be compared and never shown; "" for one that is missing."""
    stored = dict(data.items())  # unread bytes, most of them; no value is converted
    found = []
    for tag in _tags(names):
        value = getattr(stored.get(tag), "value", None)
        text = value.decode("latin-1") if isinstance(value, bytes) else str(value or "")
        found.append(text.strip(" \0"))
    return found


def _clock(name: str, text: str) -> float:
    """Seconds of a time HHMMSS.F (of a day of the month), or a plain number; NaN for none."""
    try:
        if not name.endswith("Time") or name == "TriggerTime":
            return float(text)
        date, time = (text[:8], text[8:]) if name == "AcquisitionDateTime" else ("", text)
        time = time.replace(":", "")
        clock = int(time[:2]) * 3600 + int(time[2:4] or 0) * 60 + float(time[4:].split("+")[0] or 0)
        return int(date or 0) % 100 * 86400 + clock
    except ValueError:
        return np.nan
