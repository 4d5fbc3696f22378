"""The engine behind every importer: from raw volumes with their reports to a prepared folder.

One volume at a time: read, prove HU, bring to the grid, write. A bad file is refused with its
reason and never stops the others. Every file is written whole or not at all, and one that is there
already, made from the same source with the same settings, is kept; so an interrupted run, started
again, ends in the same bytes.
"""

import csv
import hashlib
import io
import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from mg3d import __version__
from mg3d.data.grid import MASK_SHARE, Grid, hu_to_unit, masks_to_grid, quantise, to_grid
from mg3d.data.labels import CT_RATE_FINDINGS
from mg3d.data.parallel import WorkerDied, work_in_parallel
from mg3d.data.prepared import read_facts, write_array
from mg3d.data.rescale import decide_rescale, rescale
from mg3d.data.volume import (
    Volume,
    VolumeError,
    read_volume,
    remove_unfinished,
    replace_file,
)

LEFT_OUT = "left out by rule: "  # starts the reason of what no run would take
DTYPES = ("uint8", "float16")
MASKS_APART_MM = 1.0  # a volume and its masks must agree about where they lie
FACTS_VERSION = 1  # of dataset.json and of a file's facts


@dataclass(frozen=True, kw_only=True)
class ScanRecord:
    """One raw volume and everything known about it.

    Attributes:
        volume_id: unique, such as "train_1_a_1".
        patient_id: the unit of every split.
        scan_id: shared by all reconstructions of a scan.
        reconstruction: number of the reconstruction.
        split: "train", "val" or "test".
        volume: the file.
        findings: text of the report's findings, "" if none.
        impression: likewise.
        labels: one per finding of `CT_RATE_FINDINGS`: 0, 1, or None for unknown.
        masks: integer volume on the same grid, bit k set where finding k is; None if unknown.
        release: see `decide_rescale`.
        metadata_rescale: slope and intercept by a metadata table, if any.
        metadata_spacing_mm: spacing of the file's axes by that table, where it goes before the
            header's.
    """

    volume_id: str
    patient_id: str
    scan_id: str
    reconstruction: int
    split: str
    volume: Path
    findings: str
    impression: str
    labels: tuple[int | None, ...]
    masks: Path | None = None
    release: str = "unknown"
    metadata_rescale: tuple[float, float] | None = None
    metadata_spacing_mm: tuple[float, float, float] | None = None


@dataclass(frozen=True, kw_only=True)
class PrepareSettings:
    """What a prepared volume looks like.

    Attributes:
        grid: the model's.
        hu_window: HU that become 0 and 1.
        dtype: "uint8" (0 to 255 over the window) or "float16" (0 to 1).
        mask_share: see `masks_to_grid`.
    """

    grid: Grid
    hu_window: tuple[float, float] = (-1000.0, 1000.0)
    dtype: str = "uint8"
    mask_share: float = MASK_SHARE

    def __post_init__(self) -> None:
        if self.hu_window[0] >= self.hu_window[1]:
            raise ValueError(f"hu_window is (low, high) with low < high, got {self.hu_window}")
        if self.dtype not in DTYPES:
            raise ValueError(f"dtype is one of {', '.join(DTYPES)}; got '{self.dtype}'")
        if not 0 < self.mask_share <= 1:
            raise ValueError(f"mask_share is above 0 and up to 1, got {self.mask_share}")


@dataclass(frozen=True)
class Refusal:
    """A file that is not in the prepared folder, and why.

    Attributes:
        file: relative to the source.
        reason: what is wrong with it.
        by_rule: it was never meant to be taken (not a chest, a second release); nothing failed.
    """

    file: str
    reason: str
    by_rule: bool = False


@dataclass(frozen=True)
class Prepared:
    """What a run did.

    Attributes:
        folder: the prepared folder.
        taken: volumes in its manifest.
        kept: of them, made by an earlier run.
        refused: files that should have been taken but could not.
        left_out: files left out by rule.
    """

    folder: Path
    taken: int
    kept: int
    refused: tuple[Refusal, ...]
    left_out: tuple[Refusal, ...]

    @property
    def exit_status(self) -> int:
        """0 if everything was taken, 3 if something was refused."""
        return 3 if self.refused else 0

    def __str__(self) -> str:
        lines = [f"{self.folder}: {self.taken} volumes ({self.kept} of them made before)"]
        if self.left_out:
            lines.append(f"{len(self.left_out)} left out by rule, listed in refused.csv")
        if self.refused:
            first = self.refused[0]
            lines.append(
                f"{len(self.refused)} refused, listed in refused.csv; "
                f"first {first.file}: {first.reason}"
            )
        return "\n".join(lines)


@dataclass(frozen=True)
class _Outcome:
    facts: dict[str, Any]
    reason: str = ""  # of a refusal
    kept: bool = False


def prepare(
    records: Iterable[ScanRecord],
    output: str | Path,
    settings: PrepareSettings,
    *,
    source: str,
    root: Path,
    refused: Iterable[Refusal] = (),
    facts: Mapping[str, Any] | None = None,
    workers: int | None = None,
    progress: bool | None = None,
) -> Prepared:
    """Make a prepared folder, or finish one that was interrupted.

    Args:
        records: the volumes to take.
        output: the folder.
        settings: grid, window and number type.
        source: name of the data set, for dataset.json.
        root: folder of the raw data; files are named relative to it.
        refused: what the importer itself has left out.
        facts: more for dataset.json, such as counts of the source.
        workers: processes, see `work_in_parallel`.
        progress: likewise.

    Raises:
        ValueError: if there is nothing to take, or a patient is in two splits.
    """
    from mg3d.data.manifest import FACTS_NAME, NAME, write_manifest

    records, output = list(records), Path(output)
    if not records:
        raise ValueError(
            f"{source}: nothing to prepare in {root}; check the folder and its tables "
            f"({len(list(refused))} files were refused)"
        )
    _check_unique(records)
    remove_unfinished(output)
    described = describe_settings(settings)
    if _read_json(output / FACTS_NAME).get("settings", described) != described:
        (output / NAME).unlink(missing_ok=True)  # its volumes are about to be replaced
    work = partial(_prepare_one, output=output, settings=settings, root=root)
    results = work_in_parallel(
        work, records, workers=workers, progress=progress, label=f"prepare {source}"
    )
    all_refused, rows, made = list(refused), [], []
    for record, result in zip(records, results, strict=True):
        if isinstance(result, WorkerDied):
            result = _Outcome({}, "the process that read it was killed (out of memory?)")
        if result.reason:
            all_refused.append(Refusal(_relative(record.volume, root), result.reason))
        else:
            rows.append(_row(record))
            made.append(result)
    write_manifest(output, rows)
    _write_table(output / "refused.csv", [(r.file, _reason(r)) for r in all_refused])
    remarks = [(o.facts["source_file"], w) for o in made for w in o.facts["warnings"]]
    _write_table(output / "warnings.csv", remarks)
    summary = {
        "version": FACTS_VERSION,
        "tool": f"mg3d {__version__}",
        "source": source,
        "settings": described,
        "labels": list(CT_RATE_FINDINGS),
        "counts": _counts(rows, all_refused),
        "rescale": dict(sorted(Counter(o.facts["rescale"]["rule"] for o in made).items())),
        "release": dict(sorted(Counter(o.facts["request"]["release"] for o in made).items())),
        "warnings": dict(sorted(Counter(_kind(warning) for _, warning in remarks).items())),
        "voxels_sha256": _hash_of(rows, made),
        **(facts or {}),
    }
    replace_file(output / FACTS_NAME, _json(summary))
    return Prepared(
        output,
        len(rows),
        sum(outcome.kept for outcome in made),
        tuple(r for r in all_refused if not r.by_rule),
        tuple(r for r in all_refused if r.by_rule),
    )


def _prepare_one(
    record: ScanRecord, output: Path, settings: PrepareSettings, root: Path
) -> _Outcome:
    """Make one volume and its masks, unless they are there; runs in a worker process."""
    row = _row(record)
    volume_path, masks_path = output / row["volume"], output / row["masks"]
    try:
        request = _request(record, settings, root)
        facts = _finished(record, volume_path, masks_path, request)
        if facts:
            return _Outcome(facts, kept=True)
        volume = read_volume(record.volume)
        if record.metadata_spacing_mm is not None:
            volume = volume.with_spacing(record.metadata_spacing_mm)
        decision = decide_rescale(volume, release=record.release, metadata=record.metadata_rescale)
        volume = rescale(volume, decision)
        masks = _read_masks(record, volume, settings) if record.masks else None
        on_grid = to_grid(volume, settings.grid)
    except (ValueError, OSError, MemoryError) as error:
        return _Outcome({}, _tidy(error, record, root))
    unit = hu_to_unit(on_grid.voxels, settings.hu_window)
    voxels = quantise(unit) if settings.dtype == "uint8" else unit.astype(np.float16)
    facts = {
        "version": FACTS_VERSION,
        "request": request,
        "volume_id": record.volume_id,
        "source_file": _relative(record.volume, root),
        "source_shape": volume.stored.shape,
        "source_affine": volume.stored.affine.tolist(),
        "source_axes": volume.stored.axes,
        "affine": on_grid.affine.tolist(),
        "hu_window": settings.hu_window,
        "rescale": {k: v for k, v in asdict(decision).items() if k != "warnings"},
        "warnings": list(volume.warnings),
        "voxels_sha256": hashlib.sha256(voxels.tobytes()).hexdigest(),
    }
    if masks is not None:  # first: a volume that is there says that all is there
        write_array(masks_path, "masks", masks, facts)
    write_array(volume_path, "volume", voxels, facts)
    return _Outcome(facts)


def _request(record: ScanRecord, settings: PrepareSettings, root: Path) -> dict[str, Any]:
    """All that decides the bytes of a prepared volume; two equal requests need no second making."""
    files = [record.volume] + ([record.masks] if record.masks else [])
    request = {
        "tool": __version__,
        "settings": describe_settings(settings),
        "files": {_relative(path, root): path.stat().st_size for path in files},
        "release": record.release,
        "metadata_rescale": record.metadata_rescale,
        "metadata_spacing_mm": record.metadata_spacing_mm,
    }
    return json.loads(json.dumps(request))  # as it is read again: tuples are lists


def _finished(
    record: ScanRecord, volume_path: Path, masks_path: Path, request: dict[str, Any]
) -> dict[str, Any]:
    """Facts of a volume made before from the same request; {} if it has to be made."""
    paths = [volume_path] + ([masks_path] if record.masks else [])
    facts = [read_facts(path) for path in paths]
    if any(f.get("request") != request or f.get("version") != FACTS_VERSION for f in facts):
        return {}
    sources = [record.volume] + ([record.masks] if record.masks else [])
    newest = max(path.stat().st_mtime_ns for path in sources)
    if min(path.stat().st_mtime_ns for path in paths) < newest:
        return {}
    return facts[0]


def _read_masks(record: ScanRecord, volume: Volume, settings: PrepareSettings) -> np.ndarray:
    assert record.masks is not None
    masks = read_volume(record.masks)
    if masks.voxels.dtype.kind not in "iu" or (masks.slope, masks.intercept) != (1, 0):
        raise VolumeError(f"{record.masks}: masks must be whole numbers (a bit per finding)")
    if masks.voxels.shape != volume.voxels.shape:
        raise VolumeError(
            f"{record.masks}: masks of shape {masks.stored.shape} for {record.volume} of shape "
            f"{volume.stored.shape}; they must lie on one grid"
        )
    corner = np.array([*volume.voxels.shape, 1])
    apart = max(
        np.abs((masks.affine - volume.affine) @ point).max() for point in (corner, [0, 0, 0, 1])
    )
    if apart > MASKS_APART_MM:
        raise VolumeError(
            f"{record.masks}: lies {apart:.1f} mm off {record.volume}; the geometry of image and "
            "masks must agree"
        )
    used = int(np.bitwise_or.reduce(masks.voxels, axis=None))
    if used >> len(CT_RATE_FINDINGS):
        raise VolumeError(
            f"{record.masks}: bits beyond the {len(CT_RATE_FINDINGS)} findings are set "
            f"({used:#x}); is it a bit field?"
        )
    return masks_to_grid(masks, settings.grid, len(CT_RATE_FINDINGS), settings.mask_share)


def _row(record: ScanRecord) -> dict[str, Any]:
    file = f"{record.split}/{record.volume_id}.safetensors"
    return {
        "volume_id": record.volume_id,
        "patient_id": record.patient_id,
        "scan_id": record.scan_id,
        "reconstruction": record.reconstruction,
        "split": record.split,
        "volume": f"volumes/{file}",
        "findings": record.findings,
        "impression": record.impression,
        **dict(zip(CT_RATE_FINDINGS, record.labels, strict=True)),
        "masks": f"masks/{file}" if record.masks else "",
    }


def _check_unique(records: list[ScanRecord]) -> None:
    seen = Counter(record.volume_id for record in records)
    twice = [name for name, count in seen.items() if count > 1]
    if twice:
        raise ValueError(
            f"{len(twice)} volume ids are there twice, first {twice[0]}; an importer must give "
            "each volume an id of its own"
        )


def _counts(rows: list[dict[str, Any]], refused: list[Refusal]) -> dict[str, Any]:
    return {
        "volumes": len(rows),
        "scans": len({row["scan_id"] for row in rows}),
        "patients": len({row["patient_id"] for row in rows}),
        "volumes_of_split": dict(sorted(Counter(row["split"] for row in rows).items())),
        "patients_of_split": dict(
            sorted(Counter(s for _, s in {(r["patient_id"], r["split"]) for r in rows}).items())
        ),
        "positive": {name: sum(row[name] == 1 for row in rows) for name in CT_RATE_FINDINGS},
        "unknown_labels": sum(row[name] is None for row in rows for name in CT_RATE_FINDINGS),
        "with_masks": sum(bool(row["masks"]) for row in rows),
        "refused": sum(not refusal.by_rule for refusal in refused),
        "left_out": sum(refusal.by_rule for refusal in refused),
    }


def _hash_of(rows: list[dict[str, Any]], made: list[_Outcome]) -> str:
    """One number for all voxels of the data set."""
    lines = sorted(
        f"{row['volume_id']} {outcome.facts['voxels_sha256']}\n"
        for row, outcome in zip(rows, made, strict=True)
    )
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def describe_settings(settings: PrepareSettings) -> dict[str, Any]:
    """The settings as they stand in dataset.json."""
    return json.loads(json.dumps(asdict(settings)))


def _kind(warning: str) -> str:
    """A warning without its numbers, for counting."""
    return re.sub(r"-?\d[\d.,e+-]*", "#", warning)


def _reason(refusal: Refusal) -> str:
    return LEFT_OUT * refusal.by_rule + refusal.reason


def _relative(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.as_posix()


def _tidy(error: Exception, record: ScanRecord, root: Path) -> str:
    """The reason as it stands in refused.csv, where the file has a column of its own."""
    text = str(error) or type(error).__name__
    text = text.removeprefix(f"{record.volume}: ")
    for path in filter(None, (record.masks, record.volume)):
        text = text.replace(str(path), _relative(path, root))
    return text


def _write_table(path: Path, rows: list[tuple[str, str]]) -> None:
    table = io.StringIO(newline="")
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(("file", "reason"))
    writer.writerows(rows)
    replace_file(path, table.getvalue().encode("utf-8"))


def _json(content: Mapping[str, Any]) -> bytes:
    return (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode("utf-8")


def _read_json(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text("utf-8"))
    except (OSError, json.JSONDecodeError):
        return {}
