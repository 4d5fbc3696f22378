"""The phantom as CTRG-Chest: 8-bit volumes, or folders of JPG slices, with reports and labels."""

import csv
import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from data_prep.ctrg_chest import LABELS, LABELS_NAME, RECORDS_NAME
from data_prep.phantom.layouts.slices import to_grey, write_slices
from mg3d.phantom.patient import PatientPlan, draw_patient
from mg3d.phantom.report import write_report
from mg3d.phantom.scanner import draw_scan
from mg3d.volumes.volume import replace_file, write_nifti

SHAPE, SPACING_MM = (24, 26, 34), (14.0, 10.0, 11.0)
# CheXbert's names of CT-RATE's findings, where it has one.
SAME = {
    "Cardiomegaly": "cardiomegaly",
    "Lung opacity": "lung_opacity",
    "Lung nodule": "lung_lesion",
    "Consolidation": "consolidation",
    "Atelectasis": "atelectasis",
    "Pleural effusion": "pleural_effusion",
    "Medical material": "support_devices",
}
UNSAID, POSITIVE, NEGATIVE, UNCERTAIN = range(4)


def write_ctrg_chest(folder: Path, patients: int, seed: int) -> None:
    """Write the split layout: NIfTI volumes of 0 to 255, records in splits, the label table.

    As released, the test list holds the records of the val list.

    Args:
        folder: gets all of it.
        patients: 2 or more; one in five is held out.
        seed: of the patients.
    """

    def write_image(case: str, grey: UInt8[np.ndarray, "H W D"]) -> str:
        file = f"Chest_New_nitfy_2/{case}.nii.gz"
        columns_rows_slices = grey.transpose(2, 1, 0)[::-1]  # to the left, forwards, upwards
        write_nifti(folder / file, columns_rows_slices, np.diag([-1.0, 1.0, 1.0, 1.0]))
        return f"./{file}"

    lists: dict[str, list[dict[str, Any]]] = {"train": [], "val": [], "test": []}
    lines: list[tuple[str, ...]] = [("id", *LABELS)]
    for number, (case, plan, record) in enumerate(_cases(patients, seed, write_image)):
        split = "val" if number % 5 == 1 else "train"
        lists[split].append({"id": f"{case}.nii.gz", **record, "split": split})
        lines.append((case, *(str(code) for code in codes_of(plan))))
    lists["test"] = lists["val"]
    replace_file(folder / RECORDS_NAME, json.dumps(lists).encode())
    table = io.StringIO(newline="")
    csv.writer(table, lineterminator="\n").writerows(lines)
    replace_file(folder / LABELS_NAME, table.getvalue().encode())


def write_ctrg_chest_jpg(folder: Path, patients: int, seed: int) -> None:
    """Write the list layout: a folder of JPG slices per scan, and one list of records."""

    def write_image(case: str, grey: UInt8[np.ndarray, "H W D"]) -> str:
        write_slices(folder / "chest_jpg" / case, grey, "{:04d}.jpg")
        return f"chest_jpg/{case}"

    records = [record for _, _, record in _cases(patients, seed, write_image)]
    replace_file(folder / "chest_ctrg_jpg.json", json.dumps(records).encode())


def codes_of(plan: PatientPlan) -> tuple[int, ...]:
    """CheXbert codes of a patient, in the order of `LABELS`; what a phantom lacks is unsaid."""
    present = {SAME[finding.name] for finding in plan.findings if finding.name in SAME}
    told = {name: POSITIVE if name in present else NEGATIVE for name in SAME.values()}
    told["no_finding"] = UNSAID if plan.findings else POSITIVE
    if "consolidation" in present:
        told["pneumonia"] = UNCERTAIN
    return tuple(told.get(name, UNSAID) for name in LABELS)


def _cases(
    patients: int, seed: int, write_image: Callable[[str, UInt8[np.ndarray, "H W D"]], str]
) -> Iterator[tuple[str, PatientPlan, dict[str, str]]]:
    """Case, patient and record of every patient, their images written."""
    for number in range(patients):
        plan, case = draw_patient(seed, number), str(10 * number)
        report = write_report(plan)
        path = write_image(case, to_grey(draw_scan(plan, SHAPE, SPACING_MM).hu))
        yield (
            case,
            plan,
            {
                "report": report.findings,
                "result": report.impression,
                "image_path": path,
            },
        )
