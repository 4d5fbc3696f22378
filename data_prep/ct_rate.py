"""Import CT-RATE from its official folder, either release.

    python -m data_prep.ct_rate --source dataset --output prepared/ct_rate

The corrected release (`train_fixed`, `valid_fixed`) holds HU; the first (`train`, `valid`) holds
stored values that only the metadata table turns into HU. Both give the same prepared volumes.

Source: layout and tables of the CT-RATE data set (Hamamci et al., arXiv 2403.17834), its data
correction note; traps: README.md.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from data_prep.command import importer_parser, options_from, run
from data_prep.ct_rate_files import RELEASE_FOLDERS, find_root, find_volumes, walk_releases
from data_prep.ct_rate_split import hold_out_patients, parse_split
from data_prep.ct_rate_tables import (
    NAME,
    SplitTables,
    read_split_tables,
    reason_to_refuse,
    rescale_and_spacing,
    scan_facts,
    text_of,
)
from data_prep.walk import describe_skipped, refuse_lost_links
from mg3d.data.labels import CT_RATE_FINDINGS
from mg3d.data.masks import MaskMeaning
from mg3d.preparation.prepare import (
    DEFAULT_OPTIONS,
    DatasetDescription,
    Prepared,
    Refusal,
    RunOptions,
    ScanRecord,
    prepare,
)
from mg3d.preparation.records import named

SPLIT = {"train": "train", "valid": "val"}


def prepare_ct_rate(
    source: str | Path,
    output: str | Path,
    options: RunOptions = DEFAULT_OPTIONS,
    *,
    release: str = "auto",
    split: str = "official",
    max_reconstructions: int | None = None,
    name: str = "CT-RATE",
    facts: Mapping[str, Any] | None = None,
) -> Prepared:
    """Prepare CT-RATE, or any folder in its layout. Can be interrupted and started again.

    Args:
        source: folder with `train_fixed`, `radiology_text_reports` and so on (or its parent, if
            it is called `dataset`).
        output: the prepared folder.
        options: the prepared form (default: that of the `tiny` preset), and how to work.
        release: "auto" (the corrected release of each volume, else the first), "corrected" or
            "first" (that one only).
        split: "official" (train, and valid as val), or "train-val:FRACTION[:SEED]", such as
            "train-val:0.05:0": that share of the training patients is val, and valid is test.
        max_reconstructions: per scan; those with the lowest numbers are taken. None: all.
        name: of the data set, for dataset.json.
        facts: more entries for dataset.json.

    Raises:
        FileNotFoundError: if the source or its report table is missing.
        ValueError: if a table is damaged, or there is nothing to prepare.
    """
    if release not in ("auto", *RELEASE_FOLDERS):
        raise ValueError(f"release is auto, corrected or first; got '{release}'")
    if max_reconstructions is not None and max_reconstructions < 1:
        raise ValueError(f"max_reconstructions is 1 or more, or None; got {max_reconstructions}")
    chosen = parse_split(split)
    root = find_root(Path(source))
    refused: list[Refusal] = []
    tree = walk_releases(root)
    found = find_volumes(tree, root, release, refused)
    tables = {
        word: read_split_tables(root, word, refused)
        for word in SPLIT
        if any(name.startswith(f"{word}_") for name in found)
    }
    records = list(_records(root, found, tables, refused))
    refuse_lost_links(tree, root, records, refused)
    records = _keep_reconstructions(root, records, max_reconstructions, refused)
    if chosen is not None:
        records = hold_out_patients(records, *chosen)
    scans, strange = _scan_table(records, tables)
    reported = {volume_id for table in tables.values() for volume_id in table.reports}
    unlabelled = [record.volume_id for record in records if not record.labels]
    dataset = DatasetDescription(
        source=name,
        root=root,
        refused=sorted(refused, key=lambda r: (r.by_rule, r.file)),
        labels=CT_RATE_FINDINGS,
        masks=MaskMeaning("bits", CT_RATE_FINDINGS),
        tables={"scans.csv": scans} if scans else {},
        facts={
            "split": split,
            "reports_without_volume": named(sorted(reported - set(found))),
            "volumes_without_labels": named(unlabelled),
            "repeated_rows": sum(table.repeated for table in tables.values()),
            "metadata_not_understood": strange,
            **describe_skipped(tree, root),
            **(facts or {}),
        },
    )
    return prepare(records, output, dataset, options)


def _records(
    root: Path,
    found: Mapping[str, tuple[Path, str]],
    tables: Mapping[str, SplitTables],
    refused: list[Refusal],
) -> Iterator[ScanRecord]:
    """One record per volume that can be taken, in the order of split, patient, scan, number."""
    for volume_id in sorted(found, key=_order):
        path, release = found[volume_id]
        file = path.relative_to(root).as_posix()
        word, patient, scan, number = _parts(volume_id)
        table = tables[word]
        reason, by_rule = reason_to_refuse(volume_id, table)
        if reason:
            refused.append(Refusal(file, reason, by_rule))
            continue
        report = table.reports[volume_id]
        if path.is_dir():  # DICOM brings its own slope, intercept and geometry
            release = "unknown"
        row = table.metadata.get(volume_id) if path.is_file() else None
        try:
            rescale, spacing = rescale_and_spacing(row, release)
        except ValueError as error:
            refused.append(Refusal(file, f"metadata, {error}"))
            continue
        masks = root / "masks" / f"{volume_id}.nii.gz"
        yield ScanRecord(
            volume_id=volume_id,
            patient_id=f"{word}_{patient}",
            scan_id=f"{word}_{patient}_{scan}",
            reconstruction=number,
            split=SPLIT[word],
            volume=path,
            findings=text_of(report["Findings_EN"]),
            impression=text_of(report["Impressions_EN"]),
            labels=table.labels.get(volume_id, {}),
            masks=masks if masks.is_file() else None,
            release=release,
            metadata_rescale=rescale,
            metadata_spacing_mm=spacing,
        )


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


def _scan_table(
    records: list[ScanRecord], tables: Mapping[str, SplitTables]
) -> tuple[list[dict[str, Any]], dict[str, int]]:
    """Metadata of every volume taken, and how often each field could not be parsed."""
    rows, strange = [], Counter[str]()
    if not any(table.metadata for table in tables.values()):
        return [], {}
    for record in records:
        word = _parts(record.volume_id)[0]
        facts, odd = scan_facts(tables[word].metadata.get(record.volume_id))
        rows.append({"volume_id": record.volume_id, "scan_id": record.scan_id, **facts})
        strange.update(odd)
    return rows, dict(sorted(strange.items()))


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
    parser = importer_parser(
        "ct_rate",
        "Prepare CT-RATE (either release) for MG-3D. Can be interrupted and restarted.",
        source="folder with train_fixed, ...",
    )
    parser.add_argument(
        "--release", default="auto", choices=("auto", *RELEASE_FOLDERS),
        help="auto: the corrected one of each volume, else the first",
    )  # fmt: skip
    parser.add_argument(
        "--max-reconstructions", default="all", metavar="all|N",
        help="number per scan; those with the lowest numbers are taken",
    )  # fmt: skip
    parser.add_argument(
        "--split", default="official", metavar="official|train-val:FRACTION[:SEED]",
        help="official: train, and valid as val; train-val:0.05:0: that share of the training "
        "patients is val, and valid is test",
    )  # fmt: skip
    asked = parser.parse_args(arguments)
    most = asked.max_reconstructions
    if most != "all" and not (most.isdigit() and int(most) > 0):
        parser.error(f"--max-reconstructions is 'all' or a number from 1, got '{most}'")
    return run(
        lambda: prepare_ct_rate(
            asked.source,
            asked.output,
            options_from(asked),
            release=asked.release,
            split=asked.split,
            max_reconstructions=None if most == "all" else int(most),
        )
    )


if __name__ == "__main__":
    raise SystemExit(main())
