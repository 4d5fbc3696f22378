"""Read CT-RATE's tables: reports, labels and metadata per volume, and unusable rows.

Source: tables of the CT-RATE data set (Hamamci et al., arXiv 2403.17834); traps: README.md.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from data_prep.tables import (
    Row,
    TableError,
    read_label,
    read_lines,
    read_number,
    read_numbers,
    read_table,
    show,
)
from mg3d.data.labels import CT_RATE_FINDINGS
from mg3d.preparation.records import Refusal
from mg3d.text.report import clean_text

NAME = re.compile(r"(train|valid)_([1-9][0-9]*)_([a-z]+)_([1-9][0-9]*)", re.ASCII)
EXTENSION = re.compile(r"\.nii(\.gz)?$", re.IGNORECASE)
WORDS = {"train": ("train",), "valid": ("validation", "valid")}  # tables mix the two
UNCLEAR = re.compile(r"\[?[0-9]+,[0-9]+\]?")  # 1 and 5, or 1.5 with a decimal comma
SPACING_MM = (0.1, 20.0)  # plausible in a CT
AGE = re.compile(r"([0-9]{1,3})(?:\.0)?([YMWD]?)", re.IGNORECASE)
PER_YEAR = {"Y": 1.0, "M": 12.0, "W": 52.18, "D": 365.25}

REPORT_COLUMNS = ("VolumeName", "Findings_EN", "Impressions_EN")
LABEL_COLUMNS = ("VolumeName", *CT_RATE_FINDINGS)
METADATA_COLUMNS = ("VolumeName", "RescaleSlope", "RescaleIntercept", "XYSpacing", "ZSpacing")
# Columns of scans.csv and their source; examination dates are not copied.
AS_THEY_STAND = {
    "sex": "PatientSex",
    "manufacturer": "Manufacturer",
    "model": "ManufacturerModelName",
    "series": "SeriesDescription",
    "kernel": "ConvolutionKernel",
    "position": "PatientPosition",
    "rows": "Rows",
    "columns": "Columns",
    "slices": "NumberofSlices",
    "rescale_slope": "RescaleSlope",
    "rescale_intercept": "RescaleIntercept",
}
SPACING_COLUMNS = ("x_spacing_mm", "y_spacing_mm", "slice_spacing_mm")


@dataclass
class SplitTables:
    """Table rows of the volumes of one split, by volume id.

    Attributes:
        reports: rows of the report table.
        labels: 0, 1 or None (unknown) by finding.
        metadata: rows of the metadata table.
        no_chest: volumes on the data set's list of scans that show no chest.
        unusable: volume id -> why its rows cannot be used.
        repeated: number of rows that repeat an earlier one; they are counted once.
    """

    reports: dict[str, Row] = field(default_factory=dict)
    labels: dict[str, dict[str, int | None]] = field(default_factory=dict)
    metadata: dict[str, Row] = field(default_factory=dict)
    no_chest: frozenset[str] = frozenset()
    unusable: dict[str, str] = field(default_factory=dict)
    repeated: int = 0


def read_split_tables(root: Path, word: str, refused: list[Refusal]) -> SplitTables:
    """Read all tables of one split; only the report table is required.

    Args:
        root: folder of the data set.
        word: "train" or "valid".
        refused: gets the rows that name no volume.

    Raises:
        FileNotFoundError: if there is no report table.
        TableError: if a table is damaged, or a label is neither 0 nor 1 nor empty.
    """
    tables = SplitTables()
    path = _find_table(root, "radiology_text_reports", "{}_reports.csv", word)
    tables.reports = _by_volume(root, path, REPORT_COLUMNS, tables, refused)
    path = _find_table(root, "multi_abnormality_labels", "{}_predicted_labels.csv", word)
    if path.is_file():
        rows = _by_volume(root, path, LABEL_COLUMNS, tables, refused)
        tables.labels = _read_labels(path, rows)
    path = _find_table(root, "metadata", "{}_metadata.csv", word)
    if path.is_file():
        tables.metadata = _by_volume(root, path, METADATA_COLUMNS, tables, refused)
    path = _find_table(root, "metadata", "no_chest_{}.txt", word)
    if path.is_file():
        tables.no_chest = frozenset(_names_in(root, path, refused))
    return tables


def reason_to_refuse(volume_id: str, tables: SplitTables) -> tuple[str, bool]:
    """Reason for refusing a volume, "" if it is taken; and whether it is left out by rule."""
    if volume_id in tables.no_chest:
        return "no chest CT, by the data set's no_chest list", True
    if volume_id in tables.unusable:
        return tables.unusable[volume_id], False
    if volume_id not in tables.reports:
        return "no report: no row with its name in the report table", False
    report = tables.reports[volume_id]
    if not text_of(report["Findings_EN"]) and not text_of(report["Impressions_EN"]):
        return "no report text: findings and impression are empty or 'Not given.'", False
    return "", False


def text_of(text: str) -> str:
    """The text of a field, or "" if it only says that there is none."""
    return text if clean_text(text) else ""


def rescale_and_spacing(
    row: Row | None, release: str
) -> tuple[tuple[float, float] | None, tuple[float, float, float] | None]:
    """Rescale of a metadata row; for the first release, whose headers are wrong, also the spacing.

    Raises:
        ValueError: if a field is not a number, or the first release lacks one that it needs.
    """
    if row is None:
        return None, None
    try:
        slope = read_number(row["RescaleSlope"])
        intercept = read_number(row["RescaleIntercept"])
        if release != "first":  # the corrected release is in HU, and its headers are right
            return None if slope is None or intercept is None else (slope, intercept), None
        if not slope or intercept is None:
            raise ValueError(
                f"RescaleSlope {show(row['RescaleSlope'])} and RescaleIntercept "
                f"{show(row['RescaleIntercept'])}, expected two numbers, the first not 0: without "
                "them the first release's stored values are no HU; correct the row"
            )
        return (slope, intercept), parse_spacing(row["XYSpacing"], row["ZSpacing"])
    except ValueError as error:
        raise ValueError(f"line {row.line}: {error}") from error


def scan_facts(row: Row | None) -> tuple[dict[str, Any], list[str]]:
    """A row of scans.csv, "" for unknown values; and the columns that could not be parsed."""
    values = row.values if row else {}
    facts: dict[str, Any] = {name: values.get(column, "") for name, column in AS_THEY_STAND.items()}
    strange = []
    text = values.get("PatientAge", "").strip()
    age = read_age(text)
    facts["age_years"] = "" if age is None else age
    strange += ["PatientAge"] if text and age is None else []
    spacing: tuple[Any, ...] = ("", "", "")
    if values:
        try:
            spacing = parse_spacing(values["XYSpacing"], values["ZSpacing"])
        except ValueError:
            strange.append("XYSpacing, ZSpacing")
    return {**facts, **dict(zip(SPACING_COLUMNS, spacing, strict=True))}, strange


def parse_spacing(xy: str, z: str) -> tuple[float, float, float]:
    """Spacing of a stored array's axes (x, y, slices) from the XYSpacing and ZSpacing fields.

    Args:
        xy: such as "[0.7, 0.7]": between rows, then between columns (as in DICOM); or one number.
        z: such as "1.5".

    Raises:
        ValueError: if a number is missing or not a plausible spacing in mm.
    """
    numbers = read_numbers(xy)
    if UNCLEAR.fullmatch(xy.strip()):
        numbers = []
    if len(numbers) not in (1, 2) or len(read_numbers(z)) != 1:
        raise ValueError(
            f"XYSpacing {show(xy)} and ZSpacing {show(z)}, expected two numbers in mm, such as "
            "[0.7, 0.7], and one; correct the row"
        )
    spacing = (numbers[-1], numbers[0], read_numbers(z)[0])
    if not all(SPACING_MM[0] <= value <= SPACING_MM[1] for value in spacing):
        raise ValueError(
            f"XYSpacing {show(xy)} and ZSpacing {show(z)} are no plausible spacing, expected "
            f"{SPACING_MM[0]} to {SPACING_MM[1]} mm; correct the row"
        )
    return spacing


def read_age(text: str) -> float | None:
    """Years, from a DICOM age such as "036Y", "018M", "010W" or "005D"; None for all else.

    A number alone, such as "45" or a spreadsheet's "45.0", is years.
    """
    match = AGE.fullmatch(text.strip())
    return round(int(match[1]) / PER_YEAR[match[2].upper() or "Y"], 2) if match else None


def _find_table(root: Path, folder: str, pattern: str, word: str) -> Path:
    """The table of a split, whichever of the two words its name uses."""
    paths = [root / folder / pattern.format(name) for name in WORDS[word]]
    return next((path for path in paths if path.is_file()), paths[0])


def _by_volume(
    root: Path,
    path: Path,
    columns: tuple[str, ...],
    tables: SplitTables,
    refused: list[Refusal],
) -> dict[str, Row]:
    """Rows by volume id. Equal rows count once; a volume with two different rows is unusable."""
    rows: dict[str, Row] = {}
    for row in read_table(path, columns):
        name = row["VolumeName"].strip()
        volume_id = EXTENSION.sub("", name)
        file = path.relative_to(root).as_posix()
        if not NAME.fullmatch(volume_id):
            reason = f"VolumeName {show(name)}, expected a name like train_1_a_1.nii.gz"
            refused.append(Refusal(f"{file}:{row.line}", reason))
        elif volume_id in rows and not rows[volume_id].says_the_same(row, but=("VolumeName",)):
            first = rows[volume_id].line
            tables.unusable[volume_id] = (
                f"two different rows in {file}, lines {first} and {row.line}; keep the right one"
            )
        else:
            tables.repeated += volume_id in rows
            rows.setdefault(volume_id, row)
    return rows


def _read_labels(path: Path, rows: dict[str, Row]) -> dict[str, dict[str, int | None]]:
    labels, wrong = {}, []
    for volume_id, row in rows.items():
        values = {}
        for name in CT_RATE_FINDINGS:
            try:
                values[name] = read_label(row[name])
            except ValueError:
                wrong.append(f"line {row.line}, column {name}: {show(row[name])}")
        labels[volume_id] = values
    if wrong:
        raise TableError(
            f"{path}: {len(wrong)} labels are neither 0 nor 1, first {'; '.join(wrong[:3])}; "
            "correct them, or leave the field empty for unknown"
        )
    return labels


def _names_in(root: Path, path: Path, refused: list[Refusal]) -> Iterator[str]:
    """Volume ids of a list; with or without folder and extension."""
    for line, text in read_lines(path):
        volume_id = EXTENSION.sub("", text.replace("\\", "/").rsplit("/", 1)[-1])
        if NAME.fullmatch(volume_id):
            yield volume_id
        else:
            reason = f"{show(text)}, expected a name like train_1_a_1.nii.gz; no volume is left out"
            refused.append(Refusal(f"{path.relative_to(root).as_posix()}:{line}", reason))
