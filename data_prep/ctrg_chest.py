"""CTRG-Chest: from 8-bit volumes or JPG folders with their reports to a prepared folder.

    python -m data_prep.ctrg_chest --source ctrg --output prepared/ctrg

In the released split, val and test are the same 360 scans, so whatever is chosen on val is chosen
on test. The default holds a tenth of the released training scans out as val and keeps test.

Source: record and label files of the MG-3D release (Tang et al., CTRG); the labels' code is
CheXbert's (Smit et al., arXiv 2004.09167).
"""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from data_prep.command import importer_parser, run
from data_prep.ctrg_records import Record, read_records
from data_prep.pictures import options_of_call, settings_of_pictures, with_picture_form
from data_prep.splits import hold_out
from data_prep.tables import TableError, read_number, read_table, show
from mg3d.preparation.prepare import (
    DEFAULT_OPTIONS,
    DatasetDescription,
    Prepared,
    Refusal,
    RunOptions,
    ScanRecord,
    prepare,
)
from mg3d.text.report import clean_text

LOG = logging.getLogger("mg3d.preparation")  # what a command shows while it works
LABELS = (
    *("enlarged_cardiomediastinum", "cardiomegaly", "lung_opacity", "lung_lesion", "edema"),
    *("consolidation", "pneumonia", "atelectasis", "pneumothorax", "pleural_effusion"),
    *("pleural_other", "fracture", "support_devices", "no_finding"),
)
CODE = ("not mentioned", "positive", "negative", "uncertain")  # 0 to 3
RECORDS_NAME = "chest_ctrg_nitfy_ori_split.json"
LABELS_NAME = "CTRG_finding_labels.csv"
SPLITS = ("disjoint", "released")
HELD_OUT, SEED = 0.1, 0  # of the released training scans
LIST_SHARES = (0.8, 0.9)  # of the list layout: train up to the first, val up to the second
NOTE = "as released, val and test are the same {} scans: what is chosen on val is chosen on test"


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
    note = _note(found)
    if note:
        LOG.warning("%s: %s", path.name, note)
    rows = _released(found) if split == "released" else _disjoint(found, path.name, refused)
    rows = [row for row in rows if _is_there(row[0], root, path.name, refused)]
    label_path = Path(labels) if labels else root / LABELS_NAME
    codes = read_codes(label_path) if labels or label_path.is_file() else {}
    scans = [_scan(record, where, name, root, codes) for record, where, name in rows]
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
            "volumes_without_labels": sum(scan.patient_id not in codes for scan in scans),
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
        case = row["id"].strip().removesuffix(".gz").removesuffix(".nii")
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
    """How many findings texts there are, how often one is repeated, and across splits."""
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
    files = sorted(root.glob("*.json"))
    if len(files) != 1:
        names = ", ".join(path.name for path in files) or "none"
        raise FileNotFoundError(
            f"{root}: expected the record file {RECORDS_NAME}, or one JSON file; there are "
            f"{names}; say which with --records"
        )
    return files[0]


def _disjoint(
    records: list[Record], file: str, refused: list[Refusal]
) -> list[tuple[Record, str, str]]:
    """Each case once, with its split and volume id; what is held out stays held out."""
    own = {record.case for record in records if record.split in ("val", "test")}
    free = {record.case for record in records} - own
    rows, taken = [], {}
    if any(record.split for record in records):
        val = hold_out(free, HELD_OUT, SEED, may_be_empty=True)
        test = own
    else:
        test = hold_out(free, HELD_OUT, SEED, may_be_empty=True)
        val = hold_out(free - test, HELD_OUT / (1 - HELD_OUT), SEED + 1, may_be_empty=True)
    for record in records:
        if record.split == "train" and record.case in own:
            reason = f"id {record.case} is held out too; taken there only, or training would see it"
            refused.append(Refusal(f"{file}:{record.place}", reason))
        elif record.case not in taken:
            taken[record.case] = record
            where = "test" if record.case in test else "val" if record.case in val else "train"
            rows.append((record, where, record.case))
        elif _says(taken[record.case]) != _says(record):
            reason = f"id {record.case} has another report in {taken[record.case].place}"
            refused.append(Refusal(f"{file}:{record.place}", reason))
        elif taken[record.case].split == record.split:
            reason = f"the same record as {taken[record.case].place}"
            refused.append(Refusal(f"{file}:{record.place}", reason, by_rule=True))
    return rows


def _released(records: list[Record]) -> list[tuple[Record, str, str]]:
    """As released; a scan that is in two splits gets two volume ids."""
    rows, taken = [], set()
    for number, record in enumerate(records):
        split = record.split
        if not split:
            share = number / len(records)
            split = (
                "train" if share < LIST_SHARES[0] else "val" if share < LIST_SHARES[1] else "test"
            )
        name = record.case if record.case not in taken else f"{record.case}_{split}"
        if name not in taken:
            taken.add(name)
            rows.append((record, split, name))
    return rows


def _note(records: list[Record]) -> str:
    """What is wrong with the released split, if anything."""
    val, test = ({r.case for r in records if r.split == split} for split in ("val", "test"))
    return NOTE.format(len(val)) if val and val == test else ""


def _says(record: Record) -> tuple[str, str]:
    return record.findings, record.impression


def _is_there(record: Record, root: Path, file: str, refused: list[Refusal]) -> bool:
    if (root / record.image).exists():
        return True
    reason = f"there is no {record.image} in the data set's folder; fetch it"
    refused.append(Refusal(f"{file}:{record.place}", reason))
    return False


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
