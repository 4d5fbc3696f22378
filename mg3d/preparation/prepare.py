"""The engine behind every importer: from raw volumes and their reports to a prepared folder.

Volumes are prepared one by one, in several processes or on several machines. A bad file is refused
with a reason and does not stop the others. Files are written atomically, and a file that was made
before from the same source with the same settings is kept; therefore an interrupted run that is
started again writes the same bytes.
"""

import json
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

from mg3d.preparation.description import DatasetDescription, check_records
from mg3d.preparation.disk import check_space
from mg3d.preparation.finish import finish, make_plan, write_refused
from mg3d.preparation.options import DEFAULT_OPTIONS, RunOptions
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
from mg3d.preparation.reports import reader_of
from mg3d.preparation.shards import write_part
from mg3d.volumes.volume import remove_unfinished

__all__ = [
    "DEFAULT_OPTIONS",
    "DTYPES",
    "DatasetDescription",
    "PrepareSettings",
    "Prepared",
    "Refusal",
    "RunOptions",
    "ScanRecord",
    "describe_settings",
    "prepare",
]

DIED = "the process that read it was killed (out of memory?)"


def prepare(
    records: Iterable[ScanRecord],
    output: str | Path,
    dataset: DatasetDescription,
    options: RunOptions = DEFAULT_OPTIONS,
) -> Prepared:
    """Make a prepared folder, or finish one that was interrupted.

    Args:
        records: the volumes to prepare.
        output: the folder.
        dataset: description of their data set.
        options: the prepared form (see `RunOptions.with_form`), and how to run.

    Raises:
        ValueError: if there are no volumes, a patient is in two splits, a label has an invalid name
            or value, or the disk space is too small.
    """
    from mg3d.data.manifest import FACTS_NAME, NAME

    records, output, options = list(records), Path(output), options.with_form()
    settings = options.settings
    assert settings is not None
    _refuse_nothing(records, dataset, output)
    check_records(records, dataset)
    plan = make_plan(records, settings, dataset, reader_of(options.read_by or "tiny"))
    described = plan["settings"]
    if _read_json(output / FACTS_NAME).get("settings", described) != described:
        (output / NAME).unlink(missing_ok=True)  # lists volumes that are about to be replaced
    shard = options.shard
    if shard is not None:
        own = shard.patients(record.patient_id for record in records)
        records = [record for record in records if record.patient_id in own]
    check_space(records, settings, dataset.masks, output, force=options.force)
    if shard is None:
        remove_unfinished(output)
    else:
        _remove_own_unfinished(output, records)
    work = partial(
        prepare_volume,
        output=output,
        settings=settings,
        masks_mean=dataset.masks,
        root=dataset.root,
    )
    outcomes = _outcomes(work, records, dataset.source, options)
    if shard is None:
        return finish(output, plan, outcomes)
    write_part(output, shard, plan, outcomes)
    files = {record.volume_id: relative(record.volume, dataset.root) for record in records}
    return Prepared(
        output,
        sum(not outcome.reason for outcome in outcomes.values()),
        sum(outcome.kept for outcome in outcomes.values()),
        tuple(Refusal(files[v], o.reason) for v, o in outcomes.items() if o.reason),
        (),
        str(shard),
    )


def _refuse_nothing(records: list[ScanRecord], dataset: DatasetDescription, output: Path) -> None:
    """Raise an error if no volume was taken and none refused: then it is the wrong folder.

    If all volumes were refused, the tables are written as usual: refused.csv holds the reasons.
    """
    if records or not all(refusal.by_rule for refusal in dataset.refused):
        return
    known = []
    if dataset.refused:
        write_refused(output, dataset.refused)
        known = [f"{len(dataset.refused)} files were left out by rule, listed in refused.csv"]
    for name, fact in dataset.facts.items():  # such as files listed but missing
        if isinstance(fact, dict) and fact.get("count") and fact.get("first"):
            known.append(f"{fact['count']} {name.replace('_', ' ')}, first {fact['first'][0]}")
    raise ValueError(
        f"{dataset.source}: nothing to prepare in {dataset.root}"
        f"{' (' + '; '.join(known) + ')' if known else ''}; check the folder and its tables"
    )


def _outcomes(
    work: Callable[[ScanRecord], Outcome],
    records: list[ScanRecord],
    source: str,
    options: RunOptions,
) -> dict[str, Outcome]:
    """Prepare all volumes; returns the outcome of each, by volume id."""
    results = work_in_parallel(
        work,
        records,
        workers=options.workers,
        progress=options.progress,
        label=f"prepare {source}",
    )
    return {
        record.volume_id: Outcome({}, DIED) if isinstance(result, WorkerDied) else result
        for record, result in zip(records, results, strict=True)
    }


def _remove_own_unfinished(output: Path, records: list[ScanRecord]) -> None:
    """Remove unfinished files of these volumes only: other shards may be writing theirs."""
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
