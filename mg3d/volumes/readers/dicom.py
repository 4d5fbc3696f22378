"""A DICOM series, many files of one slice each, as one volume.

What does not belong to the series is left out with a word; what is damaged or unclear is refused.
"""

from collections import Counter
from pathlib import Path

import numpy as np
from jaxtyping import Float64

from mg3d.volumes.readers.dicom_place import (
    along_normal,
    check_alike,
    step_between,
    without_duplicates,
)
from mg3d.volumes.readers.dicom_slice import SliceHeader, read_pixels, read_slice_header
from mg3d.volumes.readers.payload import VolumeError
from mg3d.volumes.readers.stored import LPS_TO_RAS, StoredImage, check_geometry, check_voxels

SUFFIXES = (".dcm", ".ima", ".dicom")
BRIGHTEST = 3071.0  # HU of 12 bits; padding above is a negative number read without its sign


def read_series(folder: Path, series: str | None = None) -> StoredImage:
    """Read the one series of a folder, or one of several.

    Args:
        folder: its files are read, not those of folders in it.
        series: SeriesInstanceUID.

    Raises:
        VolumeError: if a slice is damaged or missing, or it is not clear which slices belong
            together.
    """
    slices, warnings = _headers(folder)
    slices = _one_series(folder, slices, series, warnings)
    check_alike(folder, slices)
    cut = [one.path for one in slices if one.path.stat().st_size < one.bytes_at_least]
    if cut:
        raise VolumeError(
            f"{cut[0]}: truncated, the file is shorter than its {slices[0].rows} x "
            f"{slices[0].columns} pixels ({len(cut)} of {len(slices)} slices are); fetch it again"
        )
    slices = along_normal(slices)
    slices = without_duplicates(slices, warnings)
    step = step_between(folder, slices)
    first = slices[0]
    affine = np.eye(4)
    affine[:3, 0] = np.array(first.orientation[:3]) * first.spacing[1]
    affine[:3, 1] = np.array(first.orientation[3:]) * first.spacing[0]
    affine[:3, 2] = step
    affine[:3, 3] = first.position
    affine = LPS_TO_RAS @ affine
    warnings += check_geometry(folder, affine)
    image = _stack(slices, affine, warnings)
    return check_voxels(folder, image)


def _headers(folder: Path) -> tuple[list[SliceHeader], list[str]]:
    """All slices in a folder, by name; the warnings name what else lies there."""
    slices, other, warnings = [], [], []
    for path in sorted(path for path in folder.iterdir() if path.is_file()):
        with path.open("rb") as file:
            marked = file.read(132)[128:] == b"DICM"
        if marked:
            one = read_slice_header(path)
            slices += [one] if one else []
            other += [] if one else [path.name]
        elif path.suffix.lower() in SUFFIXES and path.name[0] != ".":
            raise VolumeError(
                f"{path}: named like a slice, but no DICOM file ({path.stat().st_size:,} bytes, no "
                "'DICM' after byte 128); fetch it again"
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
    return slices, warnings


def _one_series(
    folder: Path, slices: list[SliceHeader], series: str | None, warnings: list[str]
) -> list[SliceHeader]:
    found = Counter(one.series for one in slices)
    told = {one.series: one.description for one in slices}
    listed = "; ".join(f"{uid} ({told[uid]}, {n} slices)" for uid, n in found.most_common(5))
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


def _stack(
    slices: list[SliceHeader], affine: Float64[np.ndarray, "4 4"], warnings: list[str]
) -> StoredImage:
    """All pixels, in the number type of the files where one rescale holds for all of them."""
    first = read_pixels(slices[0])
    rescales = {one.rescale for one in slices}
    dtype = first.dtype if len(rescales) == 1 else np.dtype(np.float32)
    stored = np.empty((len(slices), *first.shape), dtype)
    replaced = 0
    for number, one in enumerate(slices):
        pixels = first if number == 0 else read_pixels(one)
        slope, intercept = one.rescale or (1.0, 0.0)
        stored[number] = pixels if len(rescales) == 1 else pixels * slope + intercept
        if one.padding is not None:
            # Read with the sign of the pixels: -2000 stored without a sign is 63536.
            padding = np.array(one.padding & 0xFFFF, np.uint16).astype(pixels.dtype)
            if float(padding) * slope + intercept > BRIGHTEST:
                outside = pixels == padding
                replaced += int(outside.sum())
                air = (-1000 - intercept) / slope if len(rescales) == 1 else -1000
                stored[number][outside] = max(air, 0) if dtype.kind == "u" else air
    if replaced:
        warnings.append(f"{replaced:,} pixels of padding above any tissue were taken as air")
    if rescales == {None}:
        warnings.append("no RescaleSlope and RescaleIntercept; the stored values were taken")
    slope, intercept = (slices[0].rescale or (1.0, 0.0)) if len(rescales) == 1 else (1.0, 0.0)
    if len(rescales) > 1:
        warnings.append(f"{len(rescales)} different rescales in one series, applied slice by slice")
    return StoredImage(stored.transpose(2, 1, 0), affine, slope, intercept, tuple(warnings))
