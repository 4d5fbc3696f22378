"""What makes one series: slices of one patient, study and frame of reference, taken in one pass.

Scanners and archives put several passes (before and after contrast, two kernels, two echoes, heart
phases) under one SeriesInstanceUID. Sorted by place they look like one fine volume, every second
slice of another pass. So every field that may differ between passes is looked at along the slices:

* slices of one value that lie in one block are one pass or one step of a table: read, and said;
* values that alternate along the slices are several passes: refused, with their files;
* for what runs on like a clock, both a wide pause between two groups and a to and fro count.
"""

from itertools import pairwise
from pathlib import Path

import numpy as np

from mg3d.volumes.readers.dicom_slice import CLOCKS, IDENTITY, MARKS, SliceHeader
from mg3d.volumes.readers.payload import VolumeError

PAUSE = 5.0  # seconds between two passes, at least
TO_AND_FRO = 3.0  # a step to the neighbour is this many times one to the next slice of its pass
MOST_PASSES = 4  # looked for in a to and fro
SHOWN = ("AcquisitionNumber", "EchoNumbers", "TemporalPositionIdentifier", "KVP")  # if a number
OUT = "give each pass a folder of its own"


def check_passes(folder: Path, slices: list[SliceHeader], warnings: list[str]) -> None:
    """Nothing, if the slices were taken in one pass.

    Args:
        folder: named in errors.
        slices: in order.
        warnings: fields that differ from block to block are added.

    Raises:
        VolumeError: if they are of several patients, studies or passes.
    """
    for name in IDENTITY:
        groups = _groups([one.identity[name] for one in slices], slices)
        if len(groups) == len(slices) > 1:  # as some converters write it, file by file
            warnings.append(f"{name} is another one in every slice, so it was not looked at")
        elif len(groups) > 1:
            told = " and ".join(f"{len(g)} slices (first {g[0].path.name})" for g in groups[:3])
            raise VolumeError(
                f"{folder}: {len(groups)} values of {name} in one series: {told}; "
                "one folder holds one series"
            )
    for name in MARKS:
        values = [one.marks[name] for one in slices]
        if _alternate(values):
            raise VolumeError(_several(folder, name, values, slices))
        groups = _groups(values, slices)
        if 1 < len(groups) < len(slices):
            warnings.append(
                f"{len(groups)} values of {name}, one after the other along the slices; "
                "read as one volume"
            )
    for name in CLOCKS:
        passes = _passes_by_clock(name, slices)
        if passes is not None:
            raise VolumeError(_several(folder, name, passes, slices))


def _alternate(values: list[str]) -> bool:
    """Whether one value comes again after another."""
    return 1 + sum(a != b for a, b in pairwise(values)) > len(set(values))


def _groups(values: list[str], slices: list[SliceHeader]) -> list[list[SliceHeader]]:
    groups: dict[str, list[SliceHeader]] = {}
    for value, one in zip(values, slices, strict=True):
        groups.setdefault(value, []).append(one)
    return list(groups.values())


def _several(folder: Path, name: str, values: list[str], slices: list[SliceHeader]) -> str:
    groups = _groups(values, slices)
    told = []
    for group in groups[:4]:
        value = group[0].marks.get(name, "")
        shown = f"{name} {value}: " if name in SHOWN and _is_short_number(value) else ""
        told.append(f"{shown}{len(group)} slices, first {group[0].path.name}")
    return (
        f"{folder}: {len(groups)} passes in one series, which {name} tells apart: "
        f"{'; '.join(told)}; {OUT}"
    )


def _is_short_number(value: str) -> bool:
    return value.isascii() and value.isdecimal() and len(value) <= 4


def _passes_by_clock(name: str, slices: list[SliceHeader]) -> list[str] | None:
    """The pass of each slice, None if there is only one."""
    times = np.array([one.clocks[name] for one in slices])
    # MR takes even slices after odd ones, within one pass.
    ordered = name == "TriggerTime" or slices[0].modality in ("", "CT")
    if not np.isfinite(times).all() or not ordered:
        return None
    period = _to_and_fro(times)
    if period:
        return [str(number % period) for number in range(len(times))]
    distinct = np.unique(times)
    gaps = np.sort(np.diff(distinct))
    if not name.endswith("Time") or name == "TriggerTime" or len(gaps) == 0:
        return None
    least = max(PAUSE, 5 * gaps[:-1].max(initial=0)) if len(gaps) > 1 else PAUSE
    if gaps[-1] < least:
        return None
    border = distinct[int(np.diff(distinct).argmax())]
    passes = [str(int(time > border)) for time in times]
    return passes if _alternate(passes) else None


def _to_and_fro(times: np.ndarray) -> int:
    """How many passes alternate slice by slice, 0 for one."""
    steps = np.abs(np.diff(times))
    for period in range(2, MOST_PASSES + 1):
        if len(times) >= 3 * period:
            own = np.abs(times[period:] - times[:-period])
            if np.median(own) * TO_AND_FRO < np.median(steps):
                return period
    return 0
