"""Import the public training set of STOIC2021, with folds by patient.

    python -m data_prep.stoic2021 --source stoic2021-training --output prepared/stoic2021

The released evaluation code reads fold lists that were not published, and for two folds it trains
and selects on the same list. The folds here are therefore made from a seed, stratified by COVID-19
and severe COVID-19.

Source: layout and reference.csv of the STOIC2021 training set (Revel et al., Radiology 2021; the
challenge's public part).
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from data_prep.command import importer_parser, options_from, run
from data_prep.ct_rate_tables import read_age
from data_prep.splits import deal_folds
from data_prep.tables import TableError, read_label, read_table, show
from data_prep.walk import Tree, describe_skipped, refuse_lost_links, walk
from mg3d.preparation.prepare import (
    DEFAULT_OPTIONS,
    DatasetDescription,
    Prepared,
    Refusal,
    RunOptions,
    ScanRecord,
    prepare,
)

LABELS = ("covid", "severe")
COLUMNS = ("PatientID", "probCOVID", "probSevere")
MHA, REFERENCE = Path("data") / "mha", Path("metadata") / "reference.csv"
PATIENT = re.compile(r"[A-Za-z0-9_-]+")
FIELDS = {"PatientAge": "age", "PatientSex": "sex"}  # in the header of each .mha
HEADER_BYTES = 1 << 16


def prepare_stoic2021(
    source: str | Path,
    output: str | Path,
    options: RunOptions = DEFAULT_OPTIONS,
    *,
    folds: int = 5,
    fold: int = 0,
    seed: int = 0,
) -> Prepared:
    """Prepare STOIC2021's training set. Can be interrupted and started again.

    Args:
        source: folder with data/mha and metadata/reference.csv.
        output: the prepared folder.
        options: the prepared form (default: that of the `tiny` preset), and how to work.
        folds: number of folds.
        fold: held out as split "val", 0 to folds - 1.
        seed: of the folds, which divide all patients of reference.csv, with or without a volume.

    Raises:
        FileNotFoundError: if the folder or reference.csv is missing.
        ValueError: if the table is damaged, the fold does not exist, or there is nothing to do.
    """
    if not 0 <= fold < folds:
        raise ValueError(f"fold is 0 to {folds - 1}, got {fold}")
    root = Path(source)
    refused: list[Refusal] = []
    labels = _read_reference(root, refused)
    fold_of = deal_folds(labels, folds, seed, refused) if labels else {}
    tree = walk(root / MHA)
    records = list(_records(root, tree, labels, fold_of, fold, refused))
    refuse_lost_links(tree, root, records, refused)
    present = {record.patient_id for record in records}
    dataset = DatasetDescription(
        source="STOIC2021",
        root=root,
        refused=refused,
        labels=LABELS,
        tables={"scans.csv": [_scan_row(record) for record in records]},
        facts={
            "split": f"{folds} folds by patient, seed {seed}, fold {fold} held out as val",
            "patients_without_volume": len(labels.keys() - present),
            **describe_skipped(tree, root),
        },
    )
    return prepare(records, output, dataset, options)


def _read_reference(root: Path, refused: list[Refusal]) -> dict[str, tuple[int, int]]:
    """(covid, severe) by patient; a row that contradicts itself or another is refused."""
    path = root / REFERENCE
    labels: dict[str, tuple[int, int]] = {}
    odd: dict[str, str] = {}
    for row in read_table(path, COLUMNS):
        patient = row["PatientID"].strip()
        place = f"{REFERENCE.as_posix()}:{row.line}"
        try:
            covid, severe = read_label(row["probCOVID"]), read_label(row["probSevere"])
        except ValueError as error:
            raise TableError(f"{path}, line {row.line}: {error}; correct it") from error
        if not PATIENT.fullmatch(patient):
            reason = f"PatientID {show(patient)}, expected the number in the name of a file"
            hint = " (a spreadsheet has made it a decimal number)" * patient.endswith(".0")
            refused.append(Refusal(place, f"{reason}{hint}; correct it"))
        elif covid is None or severe is None:
            odd[patient] = f"{place}: a label is empty"
        elif severe and not covid:
            odd[patient] = f"{place}: severe COVID-19 without COVID-19"
        elif labels.setdefault(patient, (covid, severe)) != (covid, severe):
            odd[patient] = f"{place}: another row has other labels"
    for patient, reason in odd.items():
        labels.pop(patient, None)
        refused.append(Refusal((MHA / f"{patient}.mha").as_posix(), f"{reason}; correct the table"))
    return labels


def _records(
    root: Path,
    tree: Tree,
    labels: dict[str, tuple[int, int]],
    fold_of: dict[str, int],
    held_out: int,
    refused: list[Refusal],
) -> Iterator[ScanRecord]:
    already = {refusal.file for refusal in refused}
    for path in tree.files:
        file, patient = path.relative_to(root).as_posix(), path.stem
        if path.suffix.lower() not in (".mha", ".mhd") or file in already:
            continue
        if path.suffix.lower() == ".mhd" or path.parent != root / MHA:
            place = f"{MHA.as_posix()}/{patient}.mha"
            refused.append(Refusal(file, f"expected {place}; save it or move it there"))
            continue
        if patient not in labels:
            refused.append(Refusal(file, f"no row for patient {patient} in {REFERENCE.as_posix()}"))
            continue
        yield ScanRecord(
            volume_id=patient,
            patient_id=patient,
            scan_id=patient,
            split="val" if fold_of[patient] == held_out else "train",
            fold=str(fold_of[patient]),
            volume=path,
            labels=dict(zip(LABELS, labels[patient], strict=True)),
        )


def _scan_row(record: ScanRecord) -> dict[str, Any]:
    """Age and sex from the header of the volume, "" if missing."""
    found = {"age": "", "sex": ""}
    with record.volume.open("rb") as file:
        for line in file.read(HEADER_BYTES).split(b"\n"):
            key, equals, value = (part.strip() for part in line.partition(b"="))
            name = FIELDS.get(key.decode("latin-1")) if equals else None
            if name and value.isascii():
                found[name] = value.decode("ascii")
            if key == b"ElementDataFile":
                break
    years = read_age(found["age"])
    return {
        "volume_id": record.volume_id,
        "age": found["age"],
        "age_years": "" if years is None else years,
        "sex": found["sex"],
    }


def main(arguments: list[str] | None = None) -> int:
    """The command line; the exit status."""
    parser = importer_parser(
        "stoic2021",
        "Prepare STOIC2021's training set. Can be interrupted and restarted.",
        source="folder with data/mha, metadata",
    )
    parser.add_argument("--folds", type=int, default=5, help="how many")
    parser.add_argument("--fold", type=int, default=0, help="the fold that is held out (val)")
    parser.add_argument("--seed", type=int, default=0, help="of the folds")
    asked = parser.parse_args(arguments)
    return run(
        lambda: prepare_stoic2021(
            asked.source,
            asked.output,
            options_from(asked),
            folds=asked.folds,
            fold=asked.fold,
            seed=asked.seed,
        )
    )


if __name__ == "__main__":
    raise SystemExit(main())
