"""The chest phantom as segmentation sets: Decathlon lung and colon, and COVID-19-20.

Lung cancer is played by a nodule, colon cancer by a lymph node (a small thing in soft tissue; there
is no abdomen), COVID-19 lesions by opacity and consolidation. Every patient has what is segmented.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from data_prep.phantom.layouts.stored import write_stored
from mg3d.phantom.patient import PatientPlan, draw_patient
from mg3d.phantom.scanner import draw_scan
from mg3d.volumes.volume import replace_file

Case = TypeVar("Case", int, str)

EXTENT_MM = (330.0, 250.0, 360.0)
LUNG, COLON, COVID = ("Lung nodule",), ("Lymphadenopathy",), ("Lung opacity", "Consolidation")
# Case numbers as in the data sets, where some are missing; first those that touch every fold.
LUNG_CASES = (1, 23, 42, 58, 75, 3, 25, 43, 59, 78)
COLON_CASES = (1, 45, 98, 136, 172, 5, 46, 99, 137, 175)
COVID_CASES = ("0003", "0167_1", "0319", "0437", "0573", "0011", "0173", "0320", "0443", "0575")


def write_msd_lung(folder: Path, patients: int, seed: int) -> None:
    """Write Task06_Lung; up to 10 patients."""
    _write_task(folder / "Task06_Lung", "Lung", "cancer", LUNG, LUNG_CASES[:patients], seed)


def write_msd_colon(folder: Path, patients: int, seed: int) -> None:
    """Write Task10_Colon; up to 10 patients."""
    words = "colon cancer primaries"
    _write_task(folder / "Task10_Colon", "Colon", words, COLON, COLON_CASES[:patients], seed)


def write_covid19_20(folder: Path, patients: int, seed: int) -> None:
    """Write `Train/volume-covid19-A-0003_ct.nii.gz`, ..., and a Validation case without mask.

    Args:
        folder: gets both.
        patients: up to 10.
        seed: of the patients.
    """
    spacing = (5.0, 4.0, 4.0)
    for case, (plan, number) in _cases(COVID_CASES[:patients], COVID, seed):
        name = folder / "Train" / f"volume-covid19-A-{case}_ct.nii.gz"
        masks = name.with_name(name.name.replace("_ct", "_seg"))
        _write_pair(name, masks, plan, COVID, spacing, "LPS")
        if number == 0:
            _write_pair(folder / "Validation" / name.name, None, plan, COVID, spacing, "LPS")


def _write_task(
    folder: Path, name: str, words: str, findings: Sequence[str], cases: Sequence[int], seed: int
) -> None:
    prefix, training = name.lower(), []
    for case, (plan, _) in _cases(cases, findings, seed):
        file = f"{prefix}_{case:03d}.nii.gz"
        paths = folder / "imagesTr" / file, folder / "labelsTr" / file
        _write_pair(*paths, plan, findings, (5.0, 4.0, 4.0), "RAS")
        replace_file(folder / "imagesTr" / f"._{file}", b"a twin from the archive, no image")
        training.append({"image": f"./imagesTr/{file}", "label": f"./labelsTr/{file}"})
    about: dict[str, Any] = {
        "name": name,
        "description": "MG-3D phantom in this layout",
        "licence": "made-up patients",
        "tensorImageSize": "3D",
        "modality": {"0": "CT"},
        "labels": {"0": "background", "1": words},
        "numTraining": len(training),
        "numTest": 0,
        "training": training,
        "test": [],
    }
    replace_file(folder / "dataset.json", json.dumps(about, indent=1).encode())


def _cases(
    cases: Sequence[Case], findings: Sequence[str], seed: int
) -> Iterator[tuple[Case, tuple[PatientPlan, int]]]:
    """Name of a case, and the next patient of the seed that has one of the findings."""
    patient = 0
    for number, case in enumerate(cases):
        while True:
            plan = draw_patient(seed, patient)
            patient += 1
            if any(finding.name in findings for finding in plan.findings):
                break
        yield case, (plan, number)


def _write_pair(
    image: Path,
    masks: Path | None,
    plan: PatientPlan,
    findings: Sequence[str],
    spacing_mm: tuple[float, float, float],
    axes: str,
) -> None:
    height, width, depth = (round(e / s) for e, s in zip(EXTENT_MM, spacing_mm, strict=True))
    scan = draw_scan(plan, (height, width, depth), spacing_mm)
    write_stored(image, scan.hu, scan.affine, axes)
    if masks is not None:
        lesion = np.any([scan.mask(name) for name in findings], axis=0).astype(np.uint8)
        write_stored(masks, lesion, scan.affine, axes)
