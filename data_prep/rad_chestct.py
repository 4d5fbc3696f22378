"""Import the public part of Rad-ChestCT (Duke's chest CT data), which has labels but no reports.

    python -m data_prep.rad_chestct --source rad_chestct --output prepared/rad_chestct

It is the usual external test set for models trained on CT-RATE; by default every scan is in split
test. Fifteen of CT-RATE's 18 findings have a counterpart among the 84 labelled abnormalities
(`rad_chestct_tables.COUNTERPART`).

Source: files, axes and grid as in the authors' published preprocessing (see
`mg3d.volumes.readers.npz`); tables of Zenodo record 6406114. Not tested on a published .npz file.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from data_prep.command import importer_parser, options_from, run
from data_prep.rad_chestct_tables import (
    COARSER,
    COUNTERPART,
    LABELS,
    SUMMARY,
    WITHOUT_COUNTERPART,
    Scan,
    read_labels,
    read_summary,
)
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
from mg3d.preparation.records import named
from mg3d.volumes.readers.npz import ASSUMED, is_npz

SPLITS = ("external", "released")


def prepare_rad_chestct(
    source: str | Path,
    output: str | Path,
    options: RunOptions = DEFAULT_OPTIONS,
    *,
    split: str = "external",
) -> Prepared:
    """Prepare Rad-ChestCT. Can be interrupted and started again.

    Args:
        source: folder with Summary_3630.csv, the tables of labels, and the .npz files, which may
            lie in folders of their own; any part of them will do.
        output: the prepared folder.
        options: the prepared form (default: that of the `tiny` preset), and how to work.
        split: "external" (every scan is test) or "released" (train, val and test as assigned).

    Raises:
        FileNotFoundError: if the folder, the summary or all tables of labels are missing.
        ValueError: if a table is damaged, or there is nothing to prepare.
    """
    if split not in SPLITS:
        raise ValueError(f"split is one of {', '.join(SPLITS)}; got '{split}'")
    root = Path(source)
    refused: list[Refusal] = []
    scans = read_summary(root, refused)
    present, unused = read_labels(root, refused)
    tree = walk(root)
    records = list(_records(root, tree, scans, present, split, refused))
    refuse_lost_links(tree, root, records, refused)
    taken = {record.volume_id for record in records}
    dataset = DatasetDescription(
        source="Rad-ChestCT",
        root=root,
        refused=refused,
        labels=LABELS,
        tables={"abnormalities.csv": _abnormalities(taken, present)},
        facts={
            "split": split,
            "geometry": ASSUMED,
            "label_counterparts": {name: COUNTERPART[name] for name in LABELS},
            "coarser_counterparts": COARSER,
            "findings_without_counterpart": list(WITHOUT_COUNTERPART),
            "abnormalities_without_counterpart": unused,
            "scans_without_volume": named(sorted(scans.keys() - taken)),
            "scans_without_labels": named(sorted(taken - present.keys())),
            **describe_skipped(tree, root),
        },
    )
    return prepare(records, output, dataset, options)


def _records(
    root: Path,
    tree: Tree,
    scans: Mapping[str, Scan],
    present: Mapping[str, Mapping[str, int | None]],
    split: str,
    refused: list[Refusal],
) -> Iterator[ScanRecord]:
    """One record per array whose scan is in the summary, in the order of their names."""
    seen: dict[str, str] = {}
    for path in filter(is_npz, tree.files):
        file, scan_id = path.relative_to(root).as_posix(), path.stem
        scan = scans.get(scan_id)
        if scan is None:
            refused.append(Refusal(file, f"no row for it in {SUMMARY}; rename or remove it"))
        elif scan_id in seen:
            refused.append(Refusal(file, f"the same scan as {seen[scan_id]}; remove one"))
        else:
            seen[scan_id] = file
            labels = present.get(scan_id, {})
            yield ScanRecord(
                volume_id=scan_id,
                patient_id=scan.patient_id,
                scan_id=scan_id,
                split="test" if split == "external" else scan.split,
                volume=path,
                labels={name: labels.get(COUNTERPART[name] or "") for name in LABELS},
            )


def _abnormalities(
    taken: set[str], present: Mapping[str, Mapping[str, int | None]]
) -> list[dict[str, Any]]:
    """All labelled abnormalities, at any location, for other mappings to findings."""
    scans = sorted(taken & present.keys())
    names = dict.fromkeys(name for scan in scans for name in present[scan])
    values = ({name: present[scan].get(name) for name in names} for scan in scans)
    return [
        {"volume_id": scan, **{name: "" if v is None else v for name, v in its.items()}}
        for scan, its in zip(scans, values, strict=True)
    ]


def main(arguments: list[str] | None = None) -> int:
    """The command line; the exit status."""
    parser = importer_parser(
        "rad_chestct",
        "Prepare Rad-ChestCT's public scans. Can be interrupted and restarted.",
        source="folder with Summary_3630.csv, the tables of labels and the .npz files",
    )
    parser.add_argument(
        "--split", default="external", choices=SPLITS,
        help="external: every scan is test; released: train, val and test as assigned",
    )  # fmt: skip
    asked = parser.parse_args(arguments)
    return run(
        lambda: prepare_rad_chestct(
            asked.source, asked.output, options_from(asked), split=asked.split
        )
    )


if __name__ == "__main__":
    raise SystemExit(main())
