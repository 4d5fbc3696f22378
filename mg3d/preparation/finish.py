"""Write the tables of a prepared folder from the plan of all volumes and the outcome of each.

The plan is everything an importer knows before any voxel is read, as plain JSON. Therefore one run
and a merge of many shards write the same bytes.
"""

import csv
import hashlib
import io
import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mg3d import __version__
from mg3d.preparation.description import DatasetDescription
from mg3d.preparation.prepare_volume import FACTS_VERSION, Outcome, prepared_paths
from mg3d.preparation.records import (
    LEFT_OUT,
    Prepared,
    PrepareSettings,
    Refusal,
    ScanRecord,
    describe_settings,
    relative,
)
from mg3d.preparation.reports import count_reports
from mg3d.text.limit import as_facts
from mg3d.volumes.histogram import describe_landmarks, stack_histograms
from mg3d.volumes.volume import replace_file


def make_plan(
    records: Sequence[ScanRecord],
    settings: PrepareSettings,
    dataset: DatasetDescription,
    reader: Mapping[str, Any],
) -> dict[str, Any]:
    """Make the plan as JSON content; `reader` is the text encoder whose tokens are counted."""
    classes, tables = dataset.label_classes, dataset.tables
    plan = {
        "version": FACTS_VERSION,
        "tool": f"mg3d {__version__}",
        "source": dataset.source,
        "settings": describe_settings(settings),
        "reader": dict(reader),
        "labels": list(dataset.labels),
        "label_classes": {name: list(names) for name, names in classes.items()},
        "masks": {"kind": dataset.masks.kind, "names": list(dataset.masks.names)},
        "released_split": dataset.released_split,
        "facts": dict(dataset.facts),
        "tables": {name: [dict(row) for row in rows] for name, rows in tables.items()},
        "refused": [[r.file, r.reason, r.by_rule] for r in dataset.refused],
        "rows": [_row(record, dataset.labels, dataset.root) for record in records],
    }
    return json.loads(json.dumps(plan))  # as a merge reads it


def hash_of_plan(plan: Mapping[str, Any]) -> str:
    """Hash of a plan, equal on every machine."""
    return hashlib.sha256(json.dumps(plan, sort_keys=True).encode()).hexdigest()


def finish(output: Path, plan: Mapping[str, Any], outcomes: Mapping[str, Outcome]) -> Prepared:
    """Write all tables of a prepared folder; dataset.json last, as a sign that it is complete.

    Args:
        output: the folder.
        plan: from `make_plan`.
        outcomes: outcome of every volume of the plan, by volume id.
    """
    from mg3d.data.manifest import FACTS_NAME, LEAK, write_manifest

    refused = [Refusal(*refusal) for refusal in plan["refused"]]
    rows, made = [], []
    for row in plan["rows"]:
        outcome = outcomes[row["volume_id"]]
        if outcome.reason:
            refused.append(Refusal(row["source_file"], outcome.reason))
        else:
            rows.append({name: value for name, value in row.items() if name != "source_file"})
            made.append(outcome)
    leak = _leak(rows, plan["released_split"])
    write_manifest(output, rows, plan["labels"], leaky=bool(leak))
    write_refused(output, refused)
    remarks = [(o.facts["source_file"], w) for o in made for w in o.facts["warnings"]]
    _write_table(output / "warnings.csv", remarks)
    taken = {row["volume_id"] for row in rows}
    tables = {name: _write_extra(output / name, t, taken) for name, t in plan["tables"].items()}
    histograms = stack_histograms(outcome.facts for outcome in made)
    reports = count_reports(rows, plan["reader"])
    summary = {
        "version": plan["version"],
        "tool": plan["tool"],
        "source": plan["source"],
        "settings": plan["settings"],
        "unit": sorted(histograms),
        "labels": plan["labels"],
        "label_classes": plan["label_classes"],
        "masks": plan["masks"],
        "counts": _counts(rows, refused, plan["labels"], plan["label_classes"]),
        "rescale": dict(sorted(Counter(o.facts["rescale"]["rule"] for o in made).items())),
        "release": dict(sorted(Counter(o.facts["request"]["release"] for o in made).items())),
        "hu_landmarks": describe_landmarks(histograms["HU"]) if "HU" in histograms else None,
        "warnings": dict(sorted(Counter(_kind(warning) for _, warning in remarks).items())),
        "tables": tables,
        "voxels_sha256": _hash_of(rows, made),
        **({"reports": as_facts(reports)} if reports else {}),
        **({LEAK: leak} if leak else {}),
        **plan["facts"],
    }
    replace_file(output / FACTS_NAME, to_json(summary))
    return Prepared(
        output,
        len(rows),
        sum(outcome.kept for outcome in made),
        tuple(r for r in refused if not r.by_rule),
        tuple(r for r in refused if r.by_rule),
        reports=reports,
    )


def write_refused(output: Path, refused: Iterable[Refusal]) -> None:
    """Write refused.csv: every refused file with the reason."""
    _write_table(output / "refused.csv", [(r.file, _reason(r)) for r in refused])


def _row(record: ScanRecord, labels: Sequence[str], root: Path) -> dict[str, Any]:
    volume, masks = prepared_paths(record)
    return {
        "volume_id": record.volume_id,
        "patient_id": record.patient_id,
        "scan_id": record.scan_id,
        "reconstruction": record.reconstruction,
        "split": record.split,
        "fold": record.fold,
        "volume": volume,
        "findings": record.findings,
        "impression": record.impression,
        **{name: record.labels.get(name) for name in labels},
        "masks": masks,
        "source_file": relative(record.volume, root),
    }


def _leak(rows: list[dict[str, Any]], released_split: str) -> dict[str, Any]:
    """Entry of dataset.json for a released split with patients in two splits; {} if none are."""
    splits: dict[str, set[str]] = {}
    for row in rows:
        splits.setdefault(row["patient_id"], set()).add(row["split"])
    leaky = {patient for patient, its in splits.items() if len(its) > 1}
    if not leaky or not released_split:
        return {}
    volumes = Counter(row["split"] for row in rows if row["patient_id"] in leaky)
    patients = Counter(split for its in splits.values() for split in its)
    return {
        "split": released_split,
        "patients_on_two_sides": len(leaky),
        "volumes_of_them": dict(sorted(volumes.items())),
        "patients_of_split": dict(sorted(patients.items())),
    }


def _counts(
    rows: list[dict[str, Any]],
    refused: list[Refusal],
    labels: Sequence[str],
    classes: Mapping[str, Sequence[str]],
) -> dict[str, Any]:
    return {
        "volumes": len(rows),
        "scans": len({row["scan_id"] for row in rows}),
        "patients": len({row["patient_id"] for row in rows}),
        "volumes_of_split": dict(sorted(Counter(row["split"] for row in rows).items())),
        "patients_of_split": dict(
            sorted(Counter(s for _, s in {(r["patient_id"], r["split"]) for r in rows}).items())
        ),
        "volumes_of_fold": dict(sorted(Counter(r["fold"] for r in rows if r["fold"]).items())),
        "positive": {
            name: sum((row[name] or 0) > 0 for row in rows)
            for name in labels
            if name not in classes
        },
        "of_class": {name: _by_class(rows, name, names) for name, names in classes.items()},
        "unknown_labels": sum(row[name] is None for row in rows for name in labels),
        "with_masks": sum(bool(row["masks"]) for row in rows),
        "refused": sum(not refusal.by_rule for refusal in refused),
        "left_out": sum(refusal.by_rule for refusal in refused),
    }


def _by_class(rows: list[dict[str, Any]], name: str, classes: Sequence[str]) -> dict[str, int]:
    counts = Counter(row[name] for row in rows)
    return {words: counts[number] for number, words in enumerate(classes)}


def _hash_of(rows: list[dict[str, Any]], made: list[Outcome]) -> str:
    """Hash of all voxels of the data set."""
    lines = sorted(
        f"{row['volume_id']} {outcome.facts['voxels_sha256']}\n"
        for row, outcome in zip(rows, made, strict=True)
    )
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _kind(warning: str) -> str:
    """A warning without its numbers, for counting."""
    return re.sub(r"-?\d[\d.,e+-]*", "#", warning)


def _reason(refusal: Refusal) -> str:
    return LEFT_OUT * refusal.by_rule + refusal.reason


def _write_table(path: Path, rows: Iterable[tuple[str, str]]) -> None:
    replace_file(path, _csv([("file", "reason"), *rows]))


def _write_extra(path: Path, rows: Sequence[Mapping[str, Any]], taken: set[str]) -> dict[str, Any]:
    """Write a table of the data set, without the rows of volumes that were refused."""
    kept = [row for row in rows if row.get("volume_id") is None or row["volume_id"] in taken]
    header = list(rows[0]) if rows else []
    content = _csv([header, *([row[name] for name in header] for row in kept)])
    replace_file(path, content)
    return {
        "rows": len(kept),
        "left_out_with_their_volume": len(rows) - len(kept),
        "sha256": hashlib.sha256(content).hexdigest(),
    }


def _csv(rows: Iterable[Sequence[Any]]) -> bytes:
    from mg3d.data.manifest import storable

    table = io.StringIO(newline="")
    csv.writer(table, lineterminator="\n").writerows(map(storable, row) for row in rows)
    return table.getvalue().encode("utf-8")


def to_json(content: Mapping[str, Any]) -> bytes:
    """Format JSON content as in all files of a prepared folder."""
    return (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode("utf-8", "replace")
