"""The engine behind every importer: from raw volumes with their reports to a prepared folder.

One volume at a time, in several processes or on several machines. A bad file is refused with its
reason and never stops the others. Every file is written whole or not at all, and one that is there
already, made from the same source with the same settings, is kept; so an interrupted run, started
again, ends in the same bytes.
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from mg3d.data.masks import MaskMeaning
from mg3d.preparation.disk import check_space
from mg3d.preparation.finish import finish, make_plan
from mg3d.preparation.parallel import WorkerDied, work_in_parallel
from mg3d.preparation.prepare_volume import Outcome, prepare_volume, prepared_paths
from mg3d.preparation.records import (
    DTYPES,
    Prepared,
    PrepareSettings,
    Refusal,
    ScanRecord,
    describe_settings,
    relative,
)
from mg3d.preparation.shards import Shard, write_part
from mg3d.volumes.volume import remove_unfinished

__all__ = [
    "DTYPES",
    "PrepareSettings",
    "Prepared",
    "Refusal",
    "ScanRecord",
    "describe_settings",
    "prepare",
]

DIED = "the process that read it was killed (out of memory?)"


def prepare(
    records: Iterable[ScanRecord],
    output: str | Path,
    settings: PrepareSettings,
    *,
    source: str,
    root: Path,
    refused: Iterable[Refusal] = (),
    labels: Sequence[str] = (),
    label_classes: Mapping[str, Sequence[str]] | None = None,
    mask_kind: str = "",
    mask_names: Sequence[str] = (),
    released_split: str = "",
    tables: Mapping[str, Sequence[Mapping[str, Any]]] | None = None,
    facts: Mapping[str, Any] | None = None,
    shard: Shard | None = None,
    force: bool = False,
    workers: int | None = None,
    progress: bool | None = None,
) -> Prepared:
    """Make a prepared folder, or finish one that was interrupted.

    Args:
        records: the volumes to take.
        output: the folder.
        settings: grid, intensity, window and number type.
        source: name of the data set, for dataset.json.
        root: folder of the raw data; files are named relative to it.
        refused: what the importer itself has left out.
        labels: names of the label columns, in order; [] if the data set has none.
        label_classes: label -> names of its values 0, 1, 2, ...; others are 0 and 1, or numbers.
        mask_kind: "bits", "classes" or ""; see `MaskMeaning`.
        mask_names: what masks mark.
        released_split: name of a released split, if it was asked for: only it may have a patient
            in two splits, and dataset.json then says so.
        tables: file name -> rows, for tables beside the manifest. Rows of one table have the same
            keys; those with a "volume_id" go with their volume if it is refused.
        facts: more for dataset.json, such as counts of the source.
        shard: prepare only this part of the patients; `shards.merge` makes the rest. None: all.
        force: go on although the disk seems too small.
        workers: processes, see `work_in_parallel`.
        progress: likewise.

    Raises:
        ValueError: if there is nothing to take, a patient is in two splits, a label has an
            impossible name or value, or the disk is too small.
    """
    from mg3d.data.manifest import FACTS_NAME, NAME

    records, refused, output = list(records), list(refused), Path(output)
    if not records:
        raise ValueError(
            f"{source}: nothing to prepare in {root}; check the folder and its tables "
            f"({len(refused)} files were refused)"
        )
    masks_mean = MaskMeaning(mask_kind, tuple(mask_names))
    _check_ids(records, released_split)
    _check_labels(records, labels, label_classes or {})
    _check_masks(records, masks_mean)
    plan = make_plan(
        records,
        settings,
        source=source,
        root=root,
        refused=refused,
        labels=labels,
        label_classes=label_classes,
        masks_mean=masks_mean,
        released_split=released_split,
        tables=tables,
        facts=facts,
    )
    described = plan["settings"]
    if _read_json(output / FACTS_NAME).get("settings", described) != described:
        (output / NAME).unlink(missing_ok=True)  # its volumes are about to be replaced
    if shard is not None:
        own = shard.patients(record.patient_id for record in records)
        records = [record for record in records if record.patient_id in own]
    check_space(records, settings, masks_mean, output, force=force)
    if shard is None:
        remove_unfinished(output)
    else:
        _remove_own_unfinished(output, records)
    work = partial(
        prepare_volume, output=output, settings=settings, masks_mean=masks_mean, root=root
    )
    results = work_in_parallel(
        work, records, workers=workers, progress=progress, label=f"prepare {source}"
    )
    outcomes = {
        record.volume_id: Outcome({}, DIED) if isinstance(result, WorkerDied) else result
        for record, result in zip(records, results, strict=True)
    }
    if shard is None:
        return finish(output, plan, outcomes)
    write_part(output, shard, plan, outcomes)
    files = {record.volume_id: relative(record.volume, root) for record in records}
    return Prepared(
        output,
        sum(not outcome.reason for outcome in outcomes.values()),
        sum(outcome.kept for outcome in outcomes.values()),
        tuple(Refusal(files[v], o.reason) for v, o in outcomes.items() if o.reason),
        (),
        str(shard),
    )


def _check_ids(records: list[ScanRecord], released_split: str) -> None:
    seen = Counter(record.volume_id for record in records)
    twice = [name for name, count in seen.items() if count > 1]
    if twice:
        raise ValueError(
            f"{len(twice)} volume ids are there twice, first {twice[0]}; an importer must give "
            "each volume an id of its own"
        )
    splits: dict[str, str] = {}
    for record in records:
        other = splits.setdefault(record.patient_id, record.split)
        if other != record.split and not released_split:
            raise ValueError(
                f"patient {record.patient_id} is in split '{other}' and in split "
                f"'{record.split}', so scores would be too good; put all scans of a patient into "
                "one split, or ask for a released split by name"
            )


def _check_labels(
    records: list[ScanRecord], labels: Sequence[str], classes: Mapping[str, Sequence[str]]
) -> None:
    from mg3d.data.manifest import columns_of

    columns = Counter(columns_of(labels))
    taken = [name for name, count in columns.items() if count > 1]
    strange = sorted({name for record in records for name in record.labels} - set(labels))
    strange += [name for name in classes if name not in labels]
    if taken or strange:
        raise ValueError(
            f"label columns {', '.join(taken) or 'none'} are there already and labels "
            f"{', '.join(strange) or 'none'} are not declared; an importer declares each label once"
        )
    for record in records:
        for name, names in classes.items():
            value = record.labels.get(name)
            if value is not None and value not in range(len(names)):
                raise ValueError(
                    f"{record.volume_id}: label {name} is {value}, expected 0 to "
                    f"{len(names) - 1} ({', '.join(names)}) or unknown"
                )


def _check_masks(records: list[ScanRecord], masks_mean: MaskMeaning) -> None:
    with_masks = [record.volume_id for record in records if record.masks]
    if with_masks and not masks_mean.kind:
        raise ValueError(
            f"{len(with_masks)} volumes have masks, first {with_masks[0]}, but what they mean is "
            "not said; an importer gives mask_kind and mask_names"
        )


def _remove_own_unfinished(output: Path, records: list[ScanRecord]) -> None:
    """Remove what a killed run left of these volumes; other shards may be writing theirs."""
    own = {Path(p).name for record in records for p in prepared_paths(record)}
    for path in output.rglob(".*.part"):
        name = path.name[1:].rsplit(".", 2)[0]  # .name.process.part
        if name in own:
            path.unlink(missing_ok=True)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text("utf-8"))
    except (OSError, json.JSONDecodeError):
        return {}
