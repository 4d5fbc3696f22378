"""Read the tables of Rad-ChestCT: scans, and labels of 84 abnormalities by location.

A table of labels has one column per abnormality and location, such as `nodule*left_upper`; an
abnormality is present if it is present at any location. `COUNTERPART` maps CT-RATE's findings to
abnormalities, and `COARSER` lists those whose abnormality is less specific than the finding.

Source: header and columns as the authors' published code reads them
(github.com/rachellea/ct-net-models). The mapping follows what published evaluations score.
"""

import csv
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from data_prep.decode import TableError, decode
from data_prep.tables import read_label, read_table, show
from mg3d.data.labels import CT_RATE_FINDINGS
from mg3d.preparation.records import Refusal

SUMMARY = "Summary_3630.csv"
LABEL_TABLES = tuple(
    f"img{part}_Abnormality_and_Location_Labels.csv" for part in ("train", "valid", "test")
)
ID, PATIENT, SET = "NoteAcc_DEID", "MRN_DEID", "Set_Assigned"
SPLIT = {"train": "train", "valid": "val", "test": "test"}
NAME = re.compile(r"[A-Za-z0-9_-]+")
BETWEEN = "*"  # separates abnormality and location

# Finding of CT-RATE -> abnormality; None: there is no counterpart, and the finding is not scored.
COUNTERPART: dict[str, str | None] = {
    "Medical material": None,
    "Arterial wall calcification": "calcification",
    "Cardiomegaly": "cardiomegaly",
    "Pericardial effusion": "pericardial_effusion",
    "Coronary artery wall calcification": "calcification",
    "Hiatal hernia": "hernia",
    "Lymphadenopathy": None,
    "Emphysema": "emphysema",
    "Atelectasis": "atelectasis",
    "Lung nodule": "nodule",
    "Lung opacity": "opacity",
    "Pulmonary fibrotic sequela": "fibrosis",
    "Pleural effusion": "pleural_effusion",
    "Mosaic attenuation pattern": None,
    "Peribronchial thickening": "bronchial_wall_thickening",
    "Consolidation": "consolidation",
    "Bronchiectasis": "bronchiectasis",
    "Interlobular septal thickening": "septal_thickening",
}
LABELS = tuple(name for name in CT_RATE_FINDINGS if COUNTERPART[name])
WITHOUT_COUNTERPART = tuple(name for name in CT_RATE_FINDINGS if not COUNTERPART[name])
COARSER = {
    "Arterial wall calcification": "calcification at any place, the coronary arteries included",
    "Coronary artery wall calcification": "calcification at any place, other arteries included",
    "Hiatal hernia": "a hernia of any kind",
    "Lung nodule": "a nodule at any place",
    "Lung opacity": "an opacity at any place",
    "Pulmonary fibrotic sequela": "fibrosis at any place",
}

Presence = dict[str, int | None]  # abnormality -> 1, 0, or None: unknown


@dataclass(frozen=True)
class Scan:
    """One row of the summary."""

    patient_id: str
    split: str  # as released: "train", "val" or "test"


def read_summary(root: Path, refused: list[Refusal]) -> dict[str, Scan]:
    """Read the scans by id; an invalid row, or one that contradicts another, is refused.

    Raises:
        FileNotFoundError: if the table is missing.
        TableError: if it is damaged.
    """
    scans: dict[str, Scan] = {}
    contradicted: set[str] = set()
    for row in read_table(root / SUMMARY, (ID, PATIENT, SET)):
        place = f"{SUMMARY}:{row.line}"
        scan_id, patient, assigned = (row[name].strip() for name in (ID, PATIENT, SET))
        if not NAME.fullmatch(scan_id) or not NAME.fullmatch(patient):
            odd = next(name for name in (scan_id, patient) if not NAME.fullmatch(name))
            refused.append(Refusal(place, f"{show(odd)} is no id of a scan or patient; correct it"))
        elif assigned.lower() not in SPLIT:
            reason = f"{SET} {show(assigned)}, expected {', '.join(SPLIT)}; correct it"
            refused.append(Refusal(place, reason))
        elif scans.setdefault(scan_id, (scan := Scan(patient, SPLIT[assigned.lower()]))) != scan:
            refused.append(Refusal(place, f"another row of {scan_id} says otherwise; keep one"))
            contradicted.add(scan_id)
    return {name: scan for name, scan in scans.items() if name not in contradicted}


def read_labels(root: Path, refused: list[Refusal]) -> tuple[dict[str, Presence], list[str]]:
    """Read the abnormalities present in each scan, and the list of those without a counterpart.

    Args:
        root: folder of the tables; some of the three may be missing.
        refused: scans with two contradicting rows are appended here; they get no labels.

    Raises:
        FileNotFoundError: if all tables are missing.
        TableError: if one is damaged, or lacks an abnormality.
    """
    tables = [root / name for name in LABEL_TABLES if (root / name).is_file()]
    if not tables:
        raise FileNotFoundError(
            f"{root} has none of {', '.join(LABEL_TABLES)}; without reports and labels there is "
            "nothing to evaluate; fetch them with the rest of the data set"
        )
    present: dict[str, Presence] = {}
    contradicted: set[str] = set()
    unused: dict[str, None] = {}
    for path in tables:
        for line, scan_id, labels in _read_label_table(path):
            unused.update(dict.fromkeys(a for a in labels if a not in COUNTERPART.values()))
            if present.setdefault(scan_id, labels) != labels:
                reason = f"another row of {show(scan_id)} has other labels; keep one"
                refused.append(Refusal(f"{path.name}:{line}", reason))
                contradicted.add(scan_id)
    kept = {name: labels for name, labels in present.items() if name not in contradicted}
    return kept, sorted(unused)


def _read_label_table(path: Path) -> Iterator[tuple[int, str, Presence]]:
    """Read row by row: with 4,369 columns, a list of dicts would take gigabytes."""
    reader = csv.reader(io.StringIO(decode(path), newline=""), strict=True)
    try:
        header = [name.strip() for name in next(reader, [])]
        columns = _columns_of(path, header)
        id_column = header.index(ID)
        for fields in reader:
            if not any(map(str.strip, fields)):
                continue
            if len(fields) != len(header):
                raise TableError(
                    f"{path}, line {reader.line_num}: {len(fields)} fields, expected "
                    f"{len(header)} (cut off?); fetch the file again"
                )
            labels = {
                abnormality: _any(path, reader.line_num, [fields[c] for c in its])
                for abnormality, its in columns.items()
            }
            yield reader.line_num, fields[id_column].strip(), labels
    except csv.Error as error:
        raise TableError(
            f"{path}, near line {reader.line_num}: {error} (cut off inside a quoted field?); "
            "fetch the file again"
        ) from error


def _columns_of(path: Path, header: list[str]) -> dict[str, list[int]]:
    """Abnormality -> its columns, one per location."""
    columns: dict[str, list[int]] = {}
    for column, name in enumerate(header):
        abnormality, between, _ = name.partition(BETWEEN)
        if between:
            columns.setdefault(abnormality, []).append(column)
    missing = sorted({a for a in COUNTERPART.values() if a} - columns.keys())
    if ID not in header or missing:
        lacks = ID if ID not in header else f"{missing[0]}{BETWEEN}location"
        raise TableError(
            f"{path}: column {lacks} not found among {len(header)} columns; is it the authors' "
            "table of abnormalities and locations?"
        )
    names = [name for name in header if name == ID or BETWEEN in name]  # not a spreadsheet's rest
    if len(set(names)) != len(names):
        raise TableError(f"{path}: a column is there twice; fetch the file again")
    return columns


def _any(path: Path, line: int, fields: list[str]) -> int | None:
    """1 if any location is 1, 0 if all are 0, else None (no 1, but a field is empty)."""
    values = set(fields)
    if values <= {"0", "1"}:  # nearly always
        return int("1" in values)
    try:
        found = {read_label(value) for value in values}
    except ValueError as error:
        raise TableError(f"{path}, line {line}: {error}; correct it") from error
    return 1 if 1 in found else None if None in found else 0
