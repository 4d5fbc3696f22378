"""Import CTRG-Chest: 8-bit volumes or folders of JPG slices, with their reports.

    python -m data_prep.ctrg_chest --source ctrg --output prepared/ctrg

In the released split, val and test are the same 360 scans, so that model selection on val is
selection on test. By default, a tenth of the released training scans is held out as val, and test
is kept.

Source: record and label files of the MG-3D release (Tang et al., CTRG); the labels' code is
CheXbert's (Smit et al., arXiv 2004.09167).
"""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from data_prep.command import importer_parser, run
from data_prep.ctrg_records import EXTENSION, Record, read_records
from data_prep.ctrg_split import note_on_split, split_as_released, split_disjoint
from data_prep.pictures import options_of_call, settings_of_pictures, with_picture_form
from data_prep.tables import TableError, read_number, read_table, show
from data_prep.walk import is_left_behind
from mg3d.preparation.prepare import (
    DEFAULT_OPTIONS,
    DatasetDescription,
    Prepared,
    RunOptions,
    ScanRecord,
    prepare,
)
from mg3d.preparation.records import named
from mg3d.text.report import clean_text

LOG = logging.getLogger("mg3d.preparation")  # shown by the command line
LABELS = (
    *("enlarged_cardiomediastinum", "cardiomegaly", "lung_opacity", "lung_lesion", "edema"),
    *("consolidation", "pneumonia", "atelectasis", "pneumothorax", "pleural_effusion"),
    *("pleural_other", "fracture", "support_devices", "no_finding"),
)
CODE = ("not mentioned", "positive", "negative", "uncertain")  # 0 to 3
RECORDS_NAME = "chest_ctrg_nitfy_ori_split.json"
RECORD_SUFFIXES = (".json", ".jsonl", ".ndjson")
LABELS_NAME = "CTRG_finding_labels.csv"
SPLITS = ("disjoint", "released")


def prepare_ctrg_chest(
    source: str | Path,
    output: str | Path,
    options: RunOptions = DEFAULT_OPTIONS,
    *,
    records: str | Path | None = None,
    labels: str | Path | None = None,
    split: str = "disjoint",
) -> Prepared:
    """Prepare CTRG-Chest in its NIfTI or its JPG layout. Can be interrupted and started again.

    Args:
        source: folder that image paths of the record file are relative to.
        output: the prepared folder.
        options: the prepared form (default: the whole scan, stretched to the shape of the
            preset, `tiny` if none is named), and how to work.
        records: the record file; None: `RECORDS_NAME`, or the only JSON file in the folder.
        labels: the label table; None: `LABELS_NAME` in the folder, if there is one.
        split: "disjoint": a tenth of the released training scans is val, test is as released.
            "released": val and test are the same scans, and dataset.json says so. In the list
            layout, which has no split: "disjoint": 80, 10 and 10 % by id; "released": by position,
            as pre-training cuts it.

    Raises:
        FileNotFoundError: if the folder or a table is missing.
        ValueError: if a table is damaged, or there is nothing to prepare.
    """
    if split not in SPLITS:
        raise ValueError(f"split is one of {', '.join(SPLITS)}; got '{split}'")
    root = Path(source)
    path = Path(records) if records else _find_records(root)
    found, refused = read_records(path)
    note = note_on_split(found)
    if note:
        LOG.warning("%s: %s", path.name, note)
    rows = (
        split_as_released(found)
        if split == "released"
        else split_disjoint(found, path.name, refused)
    )
    absent = [record.case for record, _, _ in rows if not _is_there(record, root)]
    rows = [row for row in rows if _is_there(row[0], root)]
    label_path = Path(labels) if labels else root / LABELS_NAME
    codes = read_codes(label_path) if labels or label_path.is_file() else {}
    scans = [_scan(record, where, name, root, codes) for record, where, name in rows]
    unlabelled = sorted(scan.patient_id for scan in scans if scan.patient_id not in codes)
    if codes and unlabelled:
        LOG.warning(
            "%s: no row for %d of %d scans, first %s; their labels are unknown",
            label_path.name,
            len(unlabelled),
            len(scans),
            unlabelled[0],
        )
    table = [
        {"volume_id": scan.volume_id, **dict(zip(LABELS, codes[scan.patient_id], strict=True))}
        for scan in scans
        if scan.patient_id in codes
    ]
    dataset = DatasetDescription(
        source="CTRG-Chest",
        root=root,
        refused=refused,
        labels=LABELS,
        released_split="CTRG-Chest as released" if split == "released" else "",
        tables={"chexbert.csv": table} if table else {},
        facts={
            "split": split,
            **({"released_split": note} if note else {}),
            "label_mapping": {f"{n} {CODE[n]}": int(n == 1) for n in range(4)},
            "records_without_volume": named(sorted(set(absent))),
            "volumes_without_labels": len(unlabelled),
            "repeated_reports": count_repeated(scans),
        },
    )
    return prepare(scans, output, dataset, with_picture_form(options))


def read_codes(path: Path) -> dict[str, tuple[int, ...]]:
    """CheXbert code of each of `LABELS` (see `CODE`), by case.

    Raises:
        FileNotFoundError: if there is no such table.
        TableError: if it is damaged, a code is none of 0 to 3, or a case has two rows.
    """
    codes: dict[str, tuple[int, ...]] = {}
    for row in read_table(path, ("id", *LABELS)):
        case = EXTENSION.sub("", row["id"].strip())
        values = []
        for name in LABELS:
            try:
                value = read_number(row[name])
            except ValueError:
                value = None
            if value is None or value not in range(len(CODE)):
                raise TableError(
                    f"{path}, line {row.line}, column {name}: {show(row[name])}, expected 0 to 3 "
                    f"({', '.join(CODE)}); correct it"
                )
            values.append(int(value))
        if codes.setdefault(case, tuple(values)) != tuple(values):
            raise TableError(
                f"{path}, line {row.line}: id {show(case)} has another row with other labels; "
                "keep the right one"
            )
    return codes


def count_repeated(scans: Sequence[ScanRecord]) -> dict[str, int]:
    """Count findings texts, repeated texts, and texts that occur in more than one split."""
    text_of = {scan.patient_id: clean_text(scan.findings) for scan in scans}
    in_train = {text_of[scan.patient_id] for scan in scans if scan.split == "train"}
    distinct = len(set(text_of.values()))
    counts = {"distinct": distinct, "repeats": len(text_of) - distinct}
    for split in ("val", "test"):
        held_out = [text_of[scan.patient_id] for scan in scans if scan.split == split]
        counts[f"{split}_texts_also_in_train"] = sum(text in in_train for text in held_out)
    return counts


def _find_records(root: Path) -> Path:
    if not root.is_dir():
        raise FileNotFoundError(f"{root} is missing; give the folder of CTRG-Chest")
    if (root / RECORDS_NAME).is_file():
        return root / RECORDS_NAME
    files = sorted(p for p in root.iterdir() if p.suffix.lower() in RECORD_SUFFIXES)
    files = [path for path in files if not is_left_behind(path.name)]
    if len(files) != 1:
        names = ", ".join(path.name for path in files) or "none"
        raise FileNotFoundError(
            f"{root}: expected the record file {RECORDS_NAME}, or one JSON file; there are "
            f"{names}; say which with --records"
        )
    return files[0]


def _is_there(record: Record, root: Path) -> bool:
    """Whether the image exists. A broken link counts as existing and is refused when it is read."""
    path = root / record.image
    return path.exists() or path.is_symlink()


def _scan(
    record: Record, split: str, volume_id: str, root: Path, codes: dict[str, tuple[int, ...]]
) -> ScanRecord:
    labels: dict[str, Any] = {}
    if record.case in codes:
        labels = {n: int(c == 1) for n, c in zip(LABELS, codes[record.case], strict=True)}
    return ScanRecord(
        volume_id=volume_id,
        patient_id=record.case,
        scan_id=record.case,
        split=split,
        volume=root / record.image,
        findings=record.findings,
        impression=record.impression,
        labels=labels,
    )


def main(arguments: list[str] | None = None) -> int:
    """The command line; the exit status."""
    parser = importer_parser(
        "ctrg_chest",
        "Prepare CTRG-Chest, NIfTI or JPG folders. Can be interrupted and restarted.",
        source="folder of the data set",
        form=settings_of_pictures(),
    )
    parser.add_argument("--records", type=Path, help=f"record file; default: {RECORDS_NAME}")
    parser.add_argument(
        "--labels", type=Path, help=f"label table; default: {LABELS_NAME}, if there"
    )
    parser.add_argument(
        "--split", default="disjoint", choices=SPLITS,
        help="disjoint: a tenth of train is val, test as released; released: val is test",
    )  # fmt: skip
    asked = parser.parse_args(arguments)
    return run(
        lambda: prepare_ctrg_chest(
            asked.source,
            asked.output,
            options_of_call(asked),
            records=asked.records,
            labels=asked.labels,
            split=asked.split,
        )
    )


if __name__ == "__main__":
    raise SystemExit(main())
