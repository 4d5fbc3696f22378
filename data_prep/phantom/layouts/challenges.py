"""The phantom as LUNA16 (nodule candidates), STOIC2021 (COVID-19) and CC-CCII (three diagnoses).

LUNA16's nodules are the phantom's, its false candidates are points in the lung. COVID-19 is played
by opacity (more than mild in a severe case), common pneumonia by consolidation or atelectasis
without it.
"""

import csv
import io
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from data_prep.cc_ccii_folds import CLASSES, FOLD_TABLE
from data_prep.phantom.layouts.metaimage import RAS_TO_LPS, write_metaimage
from data_prep.phantom.layouts.slices import to_grey, write_slices
from mg3d.phantom.patient import PatientPlan, draw_patient, stream
from mg3d.phantom.scanner import PhantomScan, draw_scan
from mg3d.volumes.volume import replace_file

EXTENT_MM = (330.0, 250.0, 360.0)
FINE, COARSE = (5.0, 4.0, 4.0), (12.0, 10.0, 10.0)  # mm; nodules have to be seen
UID = "1.3.6.1.4.1.14519.5.2.1.6279.6001.{}"
FALSE_CANDIDATES = 6  # of a scan
LUNG_HU = (-950, -700)
COVID, PNEUMONIA, NODULE = "Lung opacity", {"Consolidation", "Atelectasis"}, "Lung nodule"


def write_luna16(folder: Path, patients: int, seed: int) -> None:
    """Write subset0 to subset9, candidates.csv and annotations.csv; a scan per patient.

    Every second scan is stored with its first two axes turned round, as some of the real ones.
    """
    candidates: list[tuple[Any, ...]] = []
    annotations: list[tuple[Any, ...]] = []
    for number, plan in zip(range(patients), _with_nodules(seed)):  # noqa: B905 (endless)
        uid = UID.format(100_000 + number)
        scan = _draw(plan, FINE)
        path = folder / f"subset{number % 10}" / f"{uid}.mhd"
        write_metaimage(path, scan.hu, scan.affine, axes="LPS" if number % 2 else "RAS")
        for index, diameter in nodules_of(scan):
            place = _world(scan, index)
            candidates.append((uid, *place, 1))
            annotations.append((uid, *place, round(diameter, 3)))
        candidates += [(uid, *_world(scan, index), 0) for index in _in_lung(scan, plan)]
    points = ("seriesuid", "coordX", "coordY", "coordZ")
    _write_table(folder / "candidates.csv", (*points, "class"), candidates)
    _write_table(folder / "annotations.csv", (*points, "diameter_mm"), annotations)


def write_stoic2021(folder: Path, patients: int, seed: int) -> None:
    """Write data/mha and metadata/reference.csv, with age and sex in the headers."""
    rows = []
    for number in range(patients):
        plan = draw_patient(seed, number)
        scan = _draw(plan, COARSE)
        fields = {"PatientAge": f"{plan.age:03d}Y", "PatientSex": plan.sex}
        path = folder / "data" / "mha" / f"{number + 1}.mha"
        write_metaimage(path, scan.hu, scan.affine, fields=fields)
        rows.append((number + 1, *covid_of(plan)))
    header = ("PatientID", "probCOVID", "probSevere")
    _write_table(folder / "metadata" / "reference.csv", header, rows)


def write_cc_ccii(folder: Path, patients: int, seed: int) -> None:
    """Write class/patient/scan folders of PNG slices, and the tables of fold 0 in `folds`.

    Patients with an even number have two scans.
    """
    rows: dict[str, list[tuple[Any, ...]]] = {"train": [], "valid": []}
    for number in range(patients):
        plan = draw_patient(seed, number)
        diagnosis = diagnosis_of(plan)
        scans = [10 * number + which for which in range(2 - number % 2)]
        for which, scan in enumerate(scans):
            grey = to_grey(_draw(plan, COARSE, which).hu)
            write_slices(folder / diagnosis / str(number) / str(scan), grey, "{:04d}.png")
            row = (f"{diagnosis}-1.zip", CLASSES.index(diagnosis), diagnosis, number, scan)
            rows["valid" if number % 5 < 2 else "train"].append(
                (*row, len(grey), len(scans), str(scans))
            )
    header = ("zip_file", "target", "label", "patient_id", "scan_id", "n_slice", "scan_count",
              "all_scan_ids")  # fmt: skip
    for side, own in rows.items():
        _write_table(folder / "folds" / FOLD_TABLE.format(0, side), header, own)


def covid_of(plan: PatientPlan) -> tuple[int, int]:
    """(covid, severe) of a patient."""
    severity = [finding.severity for finding in plan.findings if finding.name == COVID]
    return len(severity), sum(grade != "mild" for grade in severity)


def diagnosis_of(plan: PatientPlan) -> str:
    """One of CC-CCII's classes."""
    present = {finding.name for finding in plan.findings}
    return "NCP" if COVID in present else "CP" if PNEUMONIA & present else "Normal"


def nodules_of(scan: PhantomScan) -> list[tuple[np.ndarray, float]]:
    """Centre (index h, w, d) and diameter in mm of every nodule that the grid shows."""
    from scipy import ndimage

    pieces, count = ndimage.label(scan.mask(NODULE), structure=np.ones((3, 3, 3)))
    centres = ndimage.center_of_mass(pieces > 0, pieces, range(1, count + 1))
    voxels = np.bincount(pieces.ravel(), minlength=count + 1)[1:]
    volumes = voxels * np.prod(scan.spacing_mm)
    diameters = (6 * volumes / np.pi) ** (1 / 3)
    return [(np.array(c), float(d)) for c, d in zip(centres, diameters, strict=True)]


def _with_nodules(seed: int) -> Iterator[PatientPlan]:
    patient = 0
    while True:
        plan = draw_patient(seed, patient)
        patient += 1
        if any(finding.name == NODULE for finding in plan.findings):
            yield plan


def _draw(plan: PatientPlan, spacing_mm: tuple[float, float, float], which: int = 0) -> PhantomScan:
    height, width, depth = (round(e / s) for e, s in zip(EXTENT_MM, spacing_mm, strict=True))
    return draw_scan(plan, (height, width, depth), spacing_mm, reconstruction=which)


def _in_lung(scan: PhantomScan, plan: PatientPlan) -> np.ndarray:
    """Places (index h, w, d) that look like lung and belong to no finding."""
    low, high = LUNG_HU
    free = np.argwhere((scan.hu > low) & (scan.hu < high) & (scan.masks == 0))
    chosen = stream(plan.seed, plan.patient, "scanner", 100).permutation(len(free))
    return free[chosen[:FALSE_CANDIDATES]]


def _world(scan: PhantomScan, index: np.ndarray) -> tuple[float, ...]:
    """LPS mm, as LUNA16's tables have it."""
    place = RAS_TO_LPS @ scan.affine @ [*index, 1.0]
    return tuple(round(float(value), 6) for value in place[:3])


def _write_table(path: Path, header: Iterable[str], rows: Iterable[tuple[Any, ...]]) -> None:
    table = io.StringIO(newline="")
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    replace_file(path, table.getvalue().encode())
