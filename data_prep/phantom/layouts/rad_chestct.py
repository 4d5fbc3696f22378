"""The chest phantom as Rad-ChestCT: .npz arrays of 0.8 mm, a summary, tables of labels.

Painted at 4 mm, every voxel then stored 5 x 5 x 5 times: true to size, quick to draw, and small as
a zip. The tables have the abnormalities that stand for a finding of CT-RATE and a few that do not,
at a few locations, where the published ones have 84 at 52.
"""

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int16

from data_prep.rad_chestct_tables import (
    BETWEEN,
    COUNTERPART,
    ID,
    LABEL_TABLES,
    PATIENT,
    SET,
    SPLIT,
    SUMMARY,
)
from mg3d.phantom.patient import PatientPlan, draw_patient
from mg3d.phantom.scanner import draw_scan
from mg3d.volumes.readers.npz import ENDS, KEY, SPACING_MM
from mg3d.volumes.volume import replace_file

REPEATED = 5  # times along each axis
PAINTED = (64, 60, 88)  # voxels (H W D) of REPEATED * 0.8 mm: 256 x 240 x 352 mm
SETS = ("train", "train", "valid", "test")  # of patients, in turn
FIRST = {"train": "trn", "valid": "val", "test": "tst"}  # letters of a scan's id
LUNG, HEART, ELSEWHERE = "left_lung", "heart", "other_location"
OTHERS = ("catheter_or_port", "lymphadenopathy", "mass")  # abnormalities without a counterpart


def write_rad_chestct(folder: Path, patients: int, seed: int) -> None:
    """Write the arrays and tables; every third patient has two scans, of one set.

    Args:
        folder: gets them.
        patients: how many.
        seed: of the patients.
    """
    abnormalities = sorted({name for name in COUNTERPART.values() if name} | set(OTHERS))
    columns = [f"{a}{BETWEEN}{place}" for a in abnormalities for place in (LUNG, HEART, ELSEWHERE)]
    summary: list[Sequence[Any]] = []
    labels: dict[str, list[Sequence[Any]]] = {part: [] for part in SPLIT}
    for patient in range(patients):
        plan, part = draw_patient(seed, patient), SETS[patient % len(SETS)]
        for number in range(1 + (patient % 3 == 0)):
            scan_id = f"{FIRST[part]}{2 * patient + number:05d}"
            array = array_of(plan, number)
            buffer = io.BytesIO()
            np.savez_compressed(buffer, allow_pickle=False, **{KEY: array})
            replace_file(folder / f"{scan_id}.npz", buffer.getvalue())
            summary.append((f"mrn{patient:05d}", scan_id, part, f"img{part}"))
            there = _places(plan)
            labels[part].append((scan_id, *(int(column in there) for column in columns)))
    _write_table(folder / SUMMARY, (PATIENT, ID, SET, "Subset_Assigned"), summary)
    for name, rows in zip(LABEL_TABLES, labels.values(), strict=True):
        if rows:
            _write_table(folder / name, (ID, *columns), rows)


def array_of(
    plan: PatientPlan, reconstruction: int = 0
) -> Int16[np.ndarray, "slices rows columns"]:
    """A scan as published: axes to inferior, posterior and left, clipped."""
    scan = draw_scan(plan, PAINTED, (REPEATED * SPACING_MM,) * 3, reconstruction=reconstruction)
    array = np.clip(scan.hu, *ENDS)[::-1, ::-1, ::-1]
    for axis in range(3):
        array = np.repeat(array, REPEATED, axis)
    return array


def _places(plan: PatientPlan) -> set[str]:
    """The columns that hold 1: each finding at one location, and a mass with every nodule."""
    names = {COUNTERPART[finding.name] for finding in plan.findings}
    places = {
        f"{name}{BETWEEN}{HEART if name == 'cardiomegaly' else LUNG}" for name in names if name
    }
    return places | {f"mass{BETWEEN}{LUNG}" for name in names if name == "nodule"}


def _write_table(path: Path, header: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([header, *rows])
    replace_file(path, text.getvalue().encode())
