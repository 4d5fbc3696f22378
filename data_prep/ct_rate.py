"""CT-RATE: from the official folder, either release, to a prepared folder.

    python -m data_prep.ct_rate --source dataset --output prepared/ct_rate

The corrected release (`train_fixed`, `valid_fixed`) holds HU; the first (`train`, `valid`) holds
stored values that only the metadata table turns into HU. Both give the same prepared volumes.

Source: layout and tables of the CT-RATE data set (Hamamci et al., arXiv 2403.17834), its data
correction note; traps: README.md.
"""

import argparse
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from data_prep.command import add_arguments, add_sharding, run, settings_from, settings_of
from data_prep.tables import Row, TableError, read_label, read_number, read_numbers, read_table
from mg3d.data.labels import CT_RATE_FINDINGS
from mg3d.data.prepare import Prepared, PrepareSettings, Refusal, ScanRecord, prepare
from mg3d.data.shards import Shard
from mg3d.text.report import clean_text

NAME = re.compile(r"(train|valid)_([1-9][0-9]*)_([a-z]+)_([1-9][0-9]*)")
EXTENSION = re.compile(r"\.nii(\.gz)?$", re.IGNORECASE)
SPLIT = {"train": "train", "valid": "val"}
WORDS = {"train": ("train",), "valid": ("validation", "valid")}  # tables mix the two
RELEASE_FOLDERS = {"corrected": "{}_fixed", "first": "{}"}  # preferred first
SPACING_MM = (0.1, 20.0)  # plausible in a CT
NAMED = 20  # reports without a volume that dataset.json names

REPORT_COLUMNS = ("VolumeName", "Findings_EN", "Impressions_EN")
LABEL_COLUMNS = ("VolumeName", *CT_RATE_FINDINGS)
METADATA_COLUMNS = ("VolumeName", "RescaleSlope", "RescaleIntercept", "XYSpacing", "ZSpacing")


@dataclass
class _Tables:
    """What stands about the volumes of one split, by volume id."""

    reports: dict[str, Row] = field(default_factory=dict)
    labels: dict[str, dict[str, int | None]] = field(default_factory=dict)
    metadata: dict[str, Row] = field(default_factory=dict)
    no_chest: frozenset[str] = frozenset()
    unusable: dict[str, str] = field(default_factory=dict)  # volume id -> why


def prepare_ct_rate(
    source: str | Path,
    output: str | Path,
    *,
    preset: str = "tiny",
    settings: PrepareSettings | None = None,
    release: str = "auto",
    max_reconstructions: int | None = None,
    shard: Shard | None = None,
    force: bool = False,
    workers: int | None = None,
    progress: bool | None = None,
    name: str = "CT-RATE",
    facts: Mapping[str, Any] | None = None,
) -> Prepared:
    """Prepare CT-RATE, or any folder in its layout. Can be interrupted and started again.

    Args:
        source: folder with `train_fixed`, `radiology_text_reports` and so on (or its parent, if
            it is called `dataset`).
        output: the prepared folder.
        preset: model preset whose grid is made.
        settings: the prepared form, instead of the preset's.
        release: "auto" (the corrected release of each volume, else the first), "corrected" or
            "first" (that one only).
        max_reconstructions: of each scan, those with the lowest numbers; None: all.
        shard: only this part of the patients; None: all.
        force: go on although the disk seems too small.
        workers: processes; None: one per core.
        progress: show a progress bar; None: in a terminal.
        name: of the data set, for dataset.json.
        facts: more for dataset.json.

    Raises:
        FileNotFoundError: if the source or its report table is missing.
        ValueError: if a table is damaged, or there is nothing to prepare.
    """
    if release not in ("auto", *RELEASE_FOLDERS):
        raise ValueError(f"release is auto, corrected or first; got '{release}'")
    if max_reconstructions is not None and max_reconstructions < 1:
        raise ValueError(f"max_reconstructions is 1 or more, or None; got {max_reconstructions}")
    root = _find_root(Path(source))
    refused: list[Refusal] = []
    found = _find_volumes(root, release, refused)
    tables = {
        word: _read_tables(root, word, refused)
        for word in SPLIT
        if any(name.startswith(f"{word}_") for name in found)
    }
    without = sorted({v for t in tables.values() for v in t.reports} - set(found))
    records = list(_records(root, found, tables, refused))
    records = _keep_reconstructions(root, records, max_reconstructions, refused)
    return prepare(
        records,
        output,
        settings or settings_of(preset),
        source=name,
        root=root,
        refused=sorted(refused, key=lambda r: (r.by_rule, r.file)),
        labels=CT_RATE_FINDINGS,
        mask_kind="bits",
        mask_names=CT_RATE_FINDINGS,
        facts={
            "reports_without_volume": {"count": len(without), "first": without[:NAMED]},
            **(facts or {}),
        },
        shard=shard,
        force=force,
        workers=workers,
        progress=progress,
    )


def parse_spacing(xy: str, z: str) -> tuple[float, float, float]:
    """Spacing of a stored array's axes (x, y, slices) from the XYSpacing and ZSpacing fields.

    Args:
        xy: such as "[0.7, 0.7]": between rows, then between columns (as in DICOM); or one number.
        z: such as "1.5".

    Raises:
        ValueError: if a number is missing or no plausible spacing in mm.
    """
    numbers = read_numbers(xy)
    if len(numbers) not in (1, 2) or len(read_numbers(z)) != 1:
        raise ValueError(
            f"XYSpacing '{xy}' and ZSpacing '{z}', expected two numbers in mm, such as "
            "[0.7, 0.7], and one; correct the row"
        )
    spacing = (numbers[-1], numbers[0], read_numbers(z)[0])
    if not all(SPACING_MM[0] <= value <= SPACING_MM[1] for value in spacing):
        raise ValueError(
            f"XYSpacing '{xy}' and ZSpacing '{z}' are no plausible spacing, expected "
            f"{SPACING_MM[0]} to {SPACING_MM[1]} mm; correct the row"
        )
    return spacing


def _find_root(source: Path) -> Path:
    folders = [f.format(word) for f in RELEASE_FOLDERS.values() for word in SPLIT]
    for root in (source, source / "dataset"):
        if any((root / folder).is_dir() for folder in folders):
            return root
    raise FileNotFoundError(
        f"{source} has none of the folders {', '.join(folders)}; give the folder of CT-RATE that "
        "holds them (see data_prep/README.md for where to get it)"
    )


def _find_volumes(root: Path, release: str, refused: list[Refusal]) -> dict[str, tuple[Path, str]]:
    """Volume id -> file and its release; the corrected one where there are both."""
    found: dict[str, tuple[Path, str]] = {}
    releases = RELEASE_FOLDERS if release == "auto" else {release: RELEASE_FOLDERS[release]}
    for kind, folder in releases.items():
        for word in SPLIT:
            for path in _volume_files(root / folder.format(word)):
                file = path.relative_to(root).as_posix()
                volume_id = EXTENSION.sub("", path.name)
                if not NAME.fullmatch(volume_id) or not volume_id.startswith(f"{word}_"):
                    reason = f"expected a name like {word}_1_a_1.nii.gz; rename or remove it"
                    refused.append(Refusal(file, reason))
                elif volume_id not in found:
                    found[volume_id] = (path, kind)
                elif found[volume_id][1] != kind:
                    reason = "the corrected release of this volume is taken"
                    refused.append(Refusal(file, reason, by_rule=True))
                else:
                    other = found[volume_id][0].relative_to(root).as_posix()
                    refused.append(Refusal(file, f"the same volume as {other}; remove one"))
    return found


def _volume_files(folder: Path) -> list[Path]:
    """NIfTI files in a folder and below, in an order that does not depend on the file system."""
    files = (path for path in folder.rglob("*") if EXTENSION.search(path.name))
    return sorted(p for p in files if not p.name.startswith(".") and p.is_file())


def _find_table(root: Path, folder: str, pattern: str, word: str) -> Path:
    """The table of a split, whichever of the two words its name uses."""
    paths = [root / folder / pattern.format(name) for name in WORDS[word]]
    return next((path for path in paths if path.is_file()), paths[0])


def _read_tables(root: Path, word: str, refused: list[Refusal]) -> _Tables:
    tables = _Tables()
    path = _find_table(root, "radiology_text_reports", "{}_reports.csv", word)
    tables.reports = _by_volume(root, path, REPORT_COLUMNS, tables.unusable, refused)
    path = _find_table(root, "multi_abnormality_labels", "{}_predicted_labels.csv", word)
    if path.is_file():
        rows = _by_volume(root, path, LABEL_COLUMNS, tables.unusable, refused)
        tables.labels = _read_labels(path, rows)
    path = _find_table(root, "metadata", "{}_metadata.csv", word)
    if path.is_file():
        tables.metadata = _by_volume(root, path, METADATA_COLUMNS, tables.unusable, refused)
    path = _find_table(root, "metadata", "no_chest_{}.txt", word)
    if path.is_file():
        lines = path.read_text("utf-8-sig").split()
        tables.no_chest = frozenset(EXTENSION.sub("", Path(line).name) for line in lines)
    return tables


def _by_volume(
    root: Path,
    path: Path,
    columns: tuple[str, ...],
    unusable: dict[str, str],
    refused: list[Refusal],
) -> dict[str, Row]:
    """Rows by volume id. Equal rows count once; a volume with two different rows is unusable."""
    rows: dict[str, Row] = {}
    for row in read_table(path, columns):
        name = row["VolumeName"].strip()
        volume_id = EXTENSION.sub("", name)
        file = path.relative_to(root).as_posix()
        if not NAME.fullmatch(volume_id):
            reason = f"VolumeName '{name}', expected a name like train_1_a_1.nii.gz"
            refused.append(Refusal(f"{file}:{row.line}", reason))
        elif volume_id in rows and rows[volume_id].values != row.values:
            first = rows[volume_id].line
            unusable[volume_id] = (
                f"two different rows in {file}, lines {first} and {row.line}; keep the right one"
            )
        else:
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
                wrong.append(f"line {row.line}, column {name}: '{row[name]}'")
        labels[volume_id] = values
    if wrong:
        raise TableError(
            f"{path}: {len(wrong)} labels are neither 0 nor 1, first {'; '.join(wrong[:3])}; "
            "correct them, or leave the field empty for unknown"
        )
    return labels


def _records(
    root: Path,
    found: Mapping[str, tuple[Path, str]],
    tables: Mapping[str, _Tables],
    refused: list[Refusal],
) -> Iterator[ScanRecord]:
    """One record per volume that can be taken, in the order of split, patient, scan, number."""
    for volume_id in sorted(found, key=_order):
        path, release = found[volume_id]
        file = path.relative_to(root).as_posix()
        word, patient, scan, number = _parts(volume_id)
        table = tables[word]
        reason, by_rule = _why_not(volume_id, table)
        if reason:
            refused.append(Refusal(file, reason, by_rule))
            continue
        report = table.reports[volume_id]
        try:
            rescale, spacing = _read_metadata(table.metadata.get(volume_id), release)
        except ValueError as error:
            refused.append(Refusal(file, f"metadata, {error}"))
            continue
        masks = root / "masks" / path.name
        yield ScanRecord(
            volume_id=volume_id,
            patient_id=f"{word}_{patient}",
            scan_id=f"{word}_{patient}_{scan}",
            reconstruction=number,
            split=SPLIT[word],
            volume=path,
            findings=_text(report["Findings_EN"]),
            impression=_text(report["Impressions_EN"]),
            labels=table.labels.get(volume_id, {}),
            masks=masks if masks.is_file() else None,
            release=release,
            metadata_rescale=rescale,
            metadata_spacing_mm=spacing,
        )


def _why_not(volume_id: str, table: _Tables) -> tuple[str, bool]:
    """Why a volume is not taken, "" if it is; and whether by rule."""
    if volume_id in table.no_chest:
        return "no chest CT, by the data set's no_chest list", True
    if volume_id in table.unusable:
        return table.unusable[volume_id], False
    if volume_id not in table.reports:
        return "no report: no row with its name in the report table", False
    report = table.reports[volume_id]
    if not _text(report["Findings_EN"]) and not _text(report["Impressions_EN"]):
        return "no report text: findings and impression are empty or 'Not given.'", False
    return "", False


def _read_metadata(
    row: Row | None, release: str
) -> tuple[tuple[float, float] | None, tuple[float, float, float] | None]:
    """Rescale and, for the first release, whose headers are not right, spacing."""
    if row is None:
        return None, None
    try:
        slope = read_number(row["RescaleSlope"])
        intercept = read_number(row["RescaleIntercept"])
        spacing = parse_spacing(row["XYSpacing"], row["ZSpacing"]) if release == "first" else None
    except ValueError as error:
        raise ValueError(f"line {row.line}: {error}") from error
    return None if slope is None or intercept is None else (slope, intercept), spacing


def _text(text: str) -> str:
    """The text as it stands, or "" where it only says that there is none."""
    return text if clean_text(text) else ""


def _keep_reconstructions(
    root: Path, records: list[ScanRecord], most: int | None, refused: list[Refusal]
) -> list[ScanRecord]:
    if most is None:
        return records
    kept: list[ScanRecord] = []
    taken: dict[str, int] = {}
    for record in records:  # by number within a scan
        taken[record.scan_id] = taken.get(record.scan_id, 0) + 1
        if taken[record.scan_id] <= most:
            kept.append(record)
        else:
            file = record.volume.relative_to(root).as_posix()
            reason = f"more than {most} reconstruction(s) of scan {record.scan_id}"
            refused.append(Refusal(file, reason, by_rule=True))
    return kept


def _parts(volume_id: str) -> tuple[str, int, str, int]:
    match = NAME.fullmatch(volume_id)
    assert match
    word, patient, scan, number = match.groups()
    return word, int(patient), scan, int(number)


def _order(volume_id: str) -> tuple[str, int, int, str, int]:
    word, patient, scan, number = _parts(volume_id)
    return word, patient, len(scan), scan, number


def main(arguments: list[str] | None = None) -> int:
    """The command line; the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m data_prep.ct_rate",
        description="Prepare CT-RATE (either release) for MG-3D. Can be interrupted and restarted.",
        epilog="Exit status: 0 everything taken, 3 something refused (see refused.csv), "
        "2 wrong call.",
    )
    parser.add_argument("--source", type=Path, required=True, help="folder with train_fixed, ...")
    parser.add_argument("--output", type=Path, required=True, help="the prepared folder")
    parser.add_argument(
        "--release", default="auto", choices=("auto", *RELEASE_FOLDERS),
        help="auto: the corrected one of each volume, else the first",
    )  # fmt: skip
    parser.add_argument(
        "--max-reconstructions", default="all", metavar="all|N",
        help="how many of each scan, those with the lowest numbers",
    )  # fmt: skip
    parser.add_argument(
        "--splits", default="official", choices=("official",),
        help="official: train, and valid as val",
    )  # fmt: skip
    add_arguments(parser)
    add_sharding(parser)
    asked = parser.parse_args(arguments)
    most = asked.max_reconstructions
    if most != "all" and not (most.isdigit() and int(most) > 0):
        parser.error(f"--max-reconstructions is 'all' or a number from 1, got '{most}'")
    return run(
        lambda: prepare_ct_rate(
            asked.source,
            asked.output,
            settings=settings_from(asked),
            release=asked.release,
            max_reconstructions=None if most == "all" else int(most),
            shard=asked.shard,
            force=asked.force,
            workers=asked.workers,
            progress=asked.progress,
        )
    )


if __name__ == "__main__":
    raise SystemExit(main())
