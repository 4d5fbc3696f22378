"""Where the slices of a DICOM series lie: their order, and the one step between neighbours.

Neither file names nor instance numbers say where a slice is, and SliceThickness is not the step
between slices: both come from the positions. A volume has one step, so a gap, an uneven series or
two slices at one place is refused.

Source: DICOM PS3.3, Image Plane Module (C.7.6.2).
"""

from pathlib import Path

import numpy as np
from jaxtyping import Float64

from mg3d.volumes.readers.dicom_pixels import read_pixels
from mg3d.volumes.readers.dicom_slice import SliceHeader
from mg3d.volumes.readers.payload import VolumeError

SAME_MM = 0.01  # two slices closer than this are at one place
PLACE_MM = 0.2  # positions are often rounded to 0.1 mm
GAP = 1.5  # of the usual step
TILT_DEGREES = 0.5
TURNED = 1e-3  # of a direction cosine


def check_alike(folder: Path, slices: list[SliceHeader]) -> None:
    """All slices of a volume lie on one grid and are stored in one way.

    Raises:
        VolumeError: if a slice does not say where it lies, or differs from the first.
    """
    for name, field in (
        ("ImagePositionPatient", "position"),
        ("ImageOrientationPatient", "orientation"),
        ("PixelSpacing", "spacing"),
    ):
        without = [one.path.name for one in slices if not getattr(one, field)]
        if without:
            raise VolumeError(
                f"{folder}: {len(without)} of {len(slices)} slices have no {name}, first "
                f"{without[0]}; where they lie is unknown, so fetch the series with its geometry"
            )
    first = slices[0]
    row, column = np.array(first.orientation[:3]), np.array(first.orientation[3:])
    lengths = np.linalg.norm([row, column], axis=1)
    if np.abs(lengths - 1).max() > TURNED or abs(row @ column) > TURNED:
        raise VolumeError(
            f"{first.path}: ImageOrientationPatient is no pair of perpendicular directions; "
            "fetch the series again"
        )
    unlike = {
        "pixels": lambda one: one.pixels != first.pixels,
        "orientation": lambda one: not np.allclose(one.orientation, first.orientation, 0, TURNED),
        "spacing": lambda one: not np.allclose(one.spacing, first.spacing, 1e-4, 0),
        "rescale": lambda one: (one.rescale is None) != (first.rescale is None),
        "modality": lambda one: one.modality != first.modality,
    }
    for field, differs in unlike.items():
        odd = [one for one in slices if differs(one)]
        if odd:
            raise VolumeError(
                f"{folder}: {field} of {odd[0].path.name} is {getattr(odd[0], field)}, of "
                f"{first.path.name} {getattr(first, field)} ({len(odd)} of {len(slices)} slices "
                "differ from the first); a volume has one grid and one kind of pixel"
            )


def along_normal(slices: list[SliceHeader]) -> list[SliceHeader]:
    """The slices, sorted by how far each lies along the normal of all."""
    normal = _normal(slices[0])
    return sorted(slices, key=lambda one: float(np.array(one.position) @ normal))


def _normal(one: SliceHeader) -> np.ndarray:
    row, column = np.array(one.orientation).reshape(2, 3)
    return np.cross(row, column)


def without_duplicates(slices: list[SliceHeader], warnings: list[str]) -> list[SliceHeader]:
    """The slices without those that are there twice.

    Args:
        slices: in order.
        warnings: names of what was left out are added.

    Raises:
        VolumeError: if two slices at one place show different things.
    """
    kept = slices[:1]
    for one in slices[1:]:
        apart = np.linalg.norm(np.array(one.position) - kept[-1].position)
        if apart >= SAME_MM:
            kept.append(one)
            continue
        same = one.rescale == kept[-1].rescale and np.array_equal(
            read_pixels(one).values, read_pixels(kept[-1]).values
        )
        if not same:
            raise VolumeError(
                f"{one.path}: lies where {kept[-1].path.name} does ({place_of(one)}) but shows "
                "something else; are two scans in one folder?"
            )
        warnings.append(f"{one.path.name} is {kept[-1].path.name} again and was left out")
    return kept


def step_between(folder: Path, slices: list[SliceHeader]) -> Float64[np.ndarray, " 3"]:
    """From one slice to the next, LPS mm: the same everywhere.

    Args:
        folder: named in errors.
        slices: in order.

    Raises:
        VolumeError: if it is not; the message tells a gap, a slice beside the line of the others
            and uneven spacing (with gantry tilt) apart.
    """
    if len(slices) == 1:
        raise VolumeError(f"{folder}: one slice only ({slices[0].path.name}), expected a volume")
    places = np.array([one.position for one in slices])
    mean = (places[-1] - places[0]) / (len(slices) - 1)
    off = np.linalg.norm(places - places[0] - np.arange(len(slices))[:, None] * mean, axis=1)
    if off.max() <= PLACE_MM:
        return mean
    steps = np.diff(places @ _normal(slices[0]))
    usual = float(np.median(steps))
    wide = steps > GAP * usual
    if wide.any() and np.abs(steps[~wide] - usual).max() <= PLACE_MM:
        gap = int(wide.argmax())
        missing = round(float(steps[wide].sum() / usual)) - int(wide.sum())
        before, after = slices[gap : gap + 2]
        raise VolumeError(
            f"{folder}: about {missing} slices are missing: from {before.path.name} "
            f"({place_of(before)}) to {after.path.name} ({place_of(after)}) it is "
            f"{steps[gap]:.4g} mm, elsewhere {usual:.4g} mm ({int(wide.sum())} gaps); "
            "fetch the series again"
        )
    if np.abs(steps - usual).max() <= PLACE_MM:
        odd = slices[int(off.argmax())]
        raise VolumeError(
            f"{odd.path}: lies up to {off.max():.3g} mm beside the line of the other slices "
            f"({place_of(odd)}); fetch it again"
        )
    raise VolumeError(
        f"{folder}: uneven spacing{_tilt(slices)}: steps of {steps.min():.3g} to "
        f"{steps.max():.3g} mm between slices, expected one; resample the series first, or fetch "
        "what is missing"
    )


def _tilt(slices: list[SliceHeader]) -> str:
    """Gantry tilt in words, by the positions and by the header; "" if there is none."""
    line = np.array(slices[-1].position) - slices[0].position
    cosine = _normal(slices[0]) @ line / np.linalg.norm(line)
    angle = float(np.degrees(np.arccos(np.clip(cosine, -1, 1))))
    stated = next((one.tilt for one in slices if one.tilt), None)
    if angle <= TILT_DEGREES and not stated:
        return ""
    told = f", {abs(stated):g} by the header" if stated else ""
    return f" and gantry tilt (slices {angle:.1f} degrees off their line{told})"


def place_of(one: SliceHeader) -> str:
    """Where a slice lies, in words."""
    return "at " + ", ".join(f"{value:g}" for value in one.position) + " mm"
