"""Prepare one volume: read it, check that it is in HU, resample it to the grid, and write it.

Runs in a worker process. A file that was made before from the same source with the same settings is
kept. An error in the raw file is returned as the reason of a refusal and not raised.
"""

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from mg3d import __version__
from mg3d.data.masks import MaskMeaning
from mg3d.data.prepared import read_facts, write_array, write_masks
from mg3d.preparation.records import PrepareSettings, ScanRecord, describe_settings, relative
from mg3d.preparation.sources import fingerprint
from mg3d.volumes.grid import classes_to_grid, masks_to_grid, pack_voxels, to_grid
from mg3d.volumes.histogram import count_values
from mg3d.volumes.segmentation import check_grids, check_pair
from mg3d.volumes.volume import Volume, VolumeError, read_volume

FACTS_VERSION = 3  # of dataset.json and of a file's facts


@dataclass(frozen=True)
class Outcome:
    """The result of preparing one record.

    Attributes:
        facts: of the prepared file; {} if the volume was refused.
        reason: why the volume was refused; "" if it was not.
        kept: whether an earlier run made the file.
    """

    facts: dict[str, Any]
    reason: str = ""
    kept: bool = False


def prepared_paths(record: ScanRecord) -> tuple[str, str]:
    """Paths of the volume and its masks, relative to the prepared folder; "" without masks."""
    file = f"{record.split}/{record.volume_id}.safetensors"
    return f"volumes/{file}", f"masks/{file}" if record.masks else ""


def prepare_volume(
    record: ScanRecord,
    *,
    output: Path,
    settings: PrepareSettings,
    masks_mean: MaskMeaning,
    root: Path,
) -> Outcome:
    """Prepare one volume and its masks, unless they exist already.

    Args:
        record: the raw volume.
        output: the prepared folder.
        settings: the prepared form.
        masks_mean: meaning of the numbers in the masks.
        root: files are named relative to it.
    """
    volume_path, masks_path = (output / path for path in prepared_paths(record))
    try:
        request = _request(record, settings, masks_mean, root)
        facts = _finished(record, volume_path, masks_path, request)
        if facts:
            return Outcome(facts, kept=True)
        volume = read_volume(record.volume)
        if record.metadata_spacing_mm is not None:
            volume = volume.with_spacing(record.metadata_spacing_mm)
        scaled = settings.intensity.scale(
            volume,
            hu_window=settings.hu_window,
            release=record.release,
            metadata=record.metadata_rescale,
        )
        volume = scaled.volume
        masks = _read_masks(record, volume, settings, masks_mean) if record.masks else None
        on_grid = to_grid(volume, settings.grid)
        assert masks is None or masks.shape == on_grid.voxels.shape
    except (ValueError, OSError, MemoryError) as error:
        return Outcome({}, _tidy(error, record, root))
    voxels = pack_voxels(on_grid.voxels, scaled.window, settings.dtype)
    facts = {
        "version": FACTS_VERSION,
        "request": request,
        "volume_id": record.volume_id,
        "source_file": relative(record.volume, root),
        "source_shape": volume.stored.shape,
        "source_affine": volume.stored.affine.tolist(),
        "source_axes": volume.stored.axes,
        "affine": on_grid.affine.tolist(),
        "hu_window": scaled.window if scaled.facts["to"] == "HU" else None,
        "rescale": scaled.facts,
        "histogram": count_values(scaled),
        "warnings": list(volume.warnings),
        "voxels_sha256": hashlib.sha256(voxels.data).hexdigest(),
    }
    if masks is not None:  # masks first: an existing volume then means that both are complete
        write_masks(masks_path, masks, facts)
    write_array(volume_path, "volume", voxels, facts)
    return Outcome(facts)


def _request(
    record: ScanRecord, settings: PrepareSettings, masks_mean: MaskMeaning, root: Path
) -> dict[str, Any]:
    """Everything that decides the bytes of a prepared volume; equal requests give equal files."""
    files = [record.volume] + ([record.masks] if record.masks else [])
    request = {
        "tool": __version__,
        "settings": describe_settings(settings),
        "files": {relative(path, root): fingerprint(path) for path in files},
        "masks": [masks_mean.kind, *masks_mean.names] if record.masks else [],
        "release": record.release,
        "metadata_rescale": record.metadata_rescale,
        "metadata_spacing_mm": record.metadata_spacing_mm,
    }
    return json.loads(json.dumps(request))  # as when read from JSON: tuples become lists


def _finished(
    record: ScanRecord, volume_path: Path, masks_path: Path, request: dict[str, Any]
) -> dict[str, Any]:
    """Facts of a volume that was made before from the same request; {} if there is none."""
    paths = [volume_path] + ([masks_path] if record.masks else [])
    facts = [read_facts(path) for path in paths]
    if any(f.get("request") != request or f.get("version") != FACTS_VERSION for f in facts):
        return {}
    if any(f["voxels_sha256"] != facts[0]["voxels_sha256"] for f in facts):
        return {}  # masks and volume are from different runs
    return facts[0]


def _read_masks(
    record: ScanRecord, volume: Volume, settings: PrepareSettings, mean: MaskMeaning
) -> np.ndarray:
    """Resample masks to the grid, after checking geometry and values against the volume.

    The geometry of the volume's header is used for both: two headers may round the same spacing
    differently, within the tolerance of the check, and could give grids of different shapes.
    """
    assert record.masks is not None
    masks = read_volume(record.masks)
    if record.metadata_spacing_mm is not None:
        masks = masks.with_spacing(record.metadata_spacing_mm)
    if mean.kind == "classes":
        classes = check_pair(volume, masks, range(len(mean.names) + 1))
        whole = replace(volume, voxels=classes, slope=1.0, intercept=0.0)
        return classes_to_grid(whole, settings.grid, len(mean.names))
    check_grids(volume, masks)
    if masks.voxels.dtype.kind not in "iu" or (masks.slope, masks.intercept) != (1, 0):
        raise VolumeError(f"{record.masks}: masks must be whole numbers (a bit per finding)")
    used = int(np.bitwise_or.reduce(masks.voxels, axis=None))
    if used < 0 or used >> len(mean.names):
        raise VolumeError(
            f"{record.masks}: bits beyond the {len(mean.names)} findings are set "
            f"({used:#x}); is it a bit field?"
        )
    placed = replace(volume, voxels=masks.voxels, slope=1.0, intercept=0.0)
    return masks_to_grid(placed, settings.grid, len(mean.names), settings.mask_share)


def _tidy(error: Exception, record: ScanRecord, root: Path) -> str:
    """The reason without the file's name, which has its own column in refused.csv."""
    text = str(error) or type(error).__name__
    text = text.removeprefix(f"{record.volume}: ")
    for path in filter(None, (record.masks, record.volume)):
        text = text.replace(str(path), relative(path, root))
    return text
