"""A DICOM series, many files of one slice each, as one volume.

What does not belong to the series is skipped with a warning; what is damaged or unclear is refused.
"""

import re
from collections import Counter
from pathlib import Path

import numpy as np
from jaxtyping import Float64, Shaped

from mg3d.volumes.readers.dicom_file import START, is_dicom
from mg3d.volumes.readers.dicom_passes import check_passes
from mg3d.volumes.readers.dicom_pixels import AIR, SlicePixels, read_pixels
from mg3d.volumes.readers.dicom_place import (
    along_normal,
    check_alike,
    step_between,
    without_duplicates,
)
from mg3d.volumes.readers.dicom_slice import SliceHeader, read_slice_header
from mg3d.volumes.readers.payload import VolumeError, files_in
from mg3d.volumes.readers.stored import LPS_TO_RAS, StoredImage, check_geometry, check_voxels

SUFFIXES = (".dcm", ".ima", ".dicom")
UID = re.compile(r"[0-9.]{1,64}")


def read_series(folder: Path, series: str | None = None) -> StoredImage:
    """Read the one series of a folder, or one of several.

    Args:
        folder: its files are read, not those of folders in it.
        series: SeriesInstanceUID.

    Raises:
        VolumeError: if a slice is damaged or missing, or it is not clear which slices belong
            together.
    """
    slices, warnings = _headers(folder, series)
    slices = _one_series(folder, slices, series, warnings)
    check_alike(folder, slices)
    form = slices[0].pixels
    cut = [one.path for one in slices if one.path.stat().st_size < one.bytes_at_least]
    if cut:
        raise VolumeError(
            f"{cut[0]}: truncated, the file is shorter than its {form.rows} x {form.columns} "
            f"pixels ({len(cut)} of {len(slices)} slices are); fetch it again"
        )
    slices = along_normal(slices)
    check_passes(folder, slices, warnings)
    slices = without_duplicates(slices, warnings)
    step = step_between(folder, slices)
    first = slices[0]
    affine = np.eye(4)
    affine[:3, 0] = np.array(first.orientation[:3]) * first.spacing[1]
    affine[:3, 1] = np.array(first.orientation[3:]) * first.spacing[0]
    affine[:3, 2] = step
    affine[:3, 3] = first.position
    affine = LPS_TO_RAS @ affine
    warnings += check_geometry(folder, affine, (form.columns, form.rows, len(slices)))
    image = _stack(slices, affine, warnings)
    return check_voxels(folder, image)


def _headers(folder: Path, series: str | None) -> tuple[list[SliceHeader], list[str]]:
    """All slices in a folder, by name; the warnings name what else lies there."""
    slices, other, warnings = [], [], []
    for path in files_in(folder):
        with path.open("rb") as file:
            start = file.read(START)
        if is_dicom(start) and path.name[0] != ".":
            one = read_slice_header(path, series)
            slices += [one] if one else []
            other += [] if one else [path.name]
        elif path.suffix.lower() in SUFFIXES and path.name[0] != ".":
            raise VolumeError(
                f"{path}: named like a slice, but no DICOM file ({path.stat().st_size:,} bytes, "
                "neither a preamble nor a first element of DICOM); fetch it again"
            )
        else:
            other.append(path.name)
    if not slices:
        inside = sum(path.is_dir() for path in folder.iterdir())
        raise VolumeError(
            f"{folder}: no DICOM slices in it ({len(other)} other files, {inside} folders); "
            "give the folder that holds the files of one series"
        )
    if other:
        warnings.append(f"{len(other)} files are no slices and were skipped, first {other[0]}")
    if any(one.localizer for one in slices) and not all(one.localizer for one in slices):
        scouts = [one for one in slices if one.localizer]
        slices = [one for one in slices if not one.localizer]
        warnings.append(f"{len(scouts)} localizers were left out, first {scouts[0].path.name}")
    guessed = [one for one in slices if one.guessed]
    if guessed:
        warnings.append(
            f"{len(guessed)} slices state no transfer syntax; read as their elements are stored, "
            f"first {guessed[0].path.name}"
        )
    return slices, warnings


def _one_series(
    folder: Path, slices: list[SliceHeader], series: str | None, warnings: list[str]
) -> list[SliceHeader]:
    found = Counter(one.series for one in slices)
    listed = "; ".join(_in_words(uid, slices) for uid, _ in found.most_common(5))
    if series is not None and series not in found:
        raise VolumeError(f"{folder}: no series {series} in it; there is {listed}")
    if series is None and len(found) > 1:
        odd = next(one.path.name for one in slices if one.series == found.most_common()[-1][0])
        raise VolumeError(
            f"{folder}: {len(found)} series in one folder: {listed}; {odd} is of the smallest. "
            "Give each a folder of its own, or choose one: read_volume(folder, series=...)"
        )
    if len(found) > 1:
        warnings.append(f"one of {len(found)} series of the folder was read: {series}")
    return [one for one in slices if series is None or one.series == series]


def _in_words(uid: str, slices: list[SliceHeader]) -> str:
    """A series by its UID, if it is one, and its files; its description may hold a name."""
    own = [one for one in slices if one.series == uid]
    kind = "" if any(one.described for one in own) else "no description, "
    shown = uid if UID.fullmatch(uid) else "a series without a valid UID"
    return f"{shown} ({kind}{len(own)} slices) from {own[0].path.name}"


def _stack(
    slices: list[SliceHeader], affine: Float64[np.ndarray, "4 4"], warnings: list[str]
) -> StoredImage:
    """All pixels, in the number type of the files where one rescale holds for all of them."""
    start = read_pixels(slices[0])
    rescales = {one.rescale for one in slices}
    one_rescale = len(rescales) == 1
    dtype = start.values.dtype if one_rescale else np.dtype(np.float32)
    stored = np.empty((len(slices), *start.values.shape), dtype)
    counts: Counter[str] = Counter()
    for number, one in enumerate(slices):
        pixels = start if number == 0 else read_pixels(one)
        slope, intercept = one.rescale or (1.0, 0.0)
        stored[number] = pixels.values if one_rescale else pixels.values * slope + intercept
        empty = AIR if one.modality in ("", "CT") else 0.0
        air = (empty - intercept) / slope if one_rescale else empty
        if dtype.kind in "iu":
            limits = np.iinfo(dtype.str)
            air = float(np.clip(round(air), limits.min, limits.max))
        _fill(stored[number], pixels, air, counts)
    warnings += [_PADDING_WORDS[kind].format(count) for kind, count in counts.items() if count]
    if rescales == {None}:
        warnings.append("no RescaleSlope and RescaleIntercept; the stored values were taken")
    slope, intercept = (slices[0].rescale or (1.0, 0.0)) if one_rescale else (1.0, 0.0)
    if not one_rescale:
        warnings.append(f"{len(rescales)} different rescales in one series, applied slice by slice")
    return StoredImage(
        stored.transpose(2, 1, 0),
        affine,
        slope,
        intercept,
        tuple(warnings),
        modality=slices[0].modality,
    )


_PADDING_WORDS = {
    "told": "{:,} pixels of padding above any tissue were taken as air",
    "wrapped": "{:,} pixels are negative numbers stored without their sign or bits; taken as "
    "padding: air",
    "excess": "{:,} slices hold more bytes than their pixels, which were not read",
}


def _fill(
    stored: Shaped[np.ndarray, "rows columns"], pixels: SlicePixels, air: float, counts: Counter
) -> None:
    """Air where there is padding, in place; what was found is counted."""
    for kind, mask in (("told", pixels.told), ("wrapped", pixels.wrapped)):
        if mask is not None:
            stored[mask] = air
            counts[kind] += int(mask.sum())
    counts["excess"] += pixels.excess > 0
