"""Estimate the size of a prepared folder, and compare it with the free disk space."""

import logging
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mg3d.data.masks import MaskMeaning
from mg3d.preparation.prepare_volume import prepared_paths
from mg3d.preparation.records import PrepareSettings, ScanRecord
from mg3d.preparation.sources import size_on_disk
from mg3d.volumes.orientation import to_canonical
from mg3d.volumes.readers.nifti import read_header
from mg3d.volumes.readers.payload import open_payload

HEADER_BYTES = 6_000  # per file: its facts as JSON
LOOKED_AT = 16  # number of scans whose shape is read, if the grid depends on the scan
MARGIN = 1.05

log = logging.getLogger(__name__)


def estimate_bytes(
    records: Sequence[ScanRecord], settings: PrepareSettings, masks_mean: MaskMeaning
) -> int:
    """Estimate the disk space of the prepared volumes.

    If the grid has a shape, the estimate is exact except for file headers and masks, which are
    smaller. Otherwise it is made from the headers of a few scans, evenly spaced in the list; for a
    file that is not NIfTI, its size in bytes is taken as its number of voxels.
    """
    if not records:
        return 0
    per_voxel = 1 if settings.dtype == "uint8" else 2
    per_mask = 1 if masks_mean.kind else 0  # at most, as a rule: only the marked box is stored
    voxels = _voxels(records, settings)
    with_masks = sum(bool(record.masks) for record in records)
    total = len(records) * (voxels * per_voxel + HEADER_BYTES)
    return int(total + with_masks * (voxels * per_mask + HEADER_BYTES))


def check_space(
    records: Sequence[ScanRecord],
    settings: PrepareSettings,
    masks_mean: MaskMeaning,
    output: Path,
    *,
    force: bool = False,
) -> None:
    """Log the estimate and compare it with the free space; volumes prepared before are subtracted.

    Args:
        records: volumes to prepare.
        settings: the prepared form.
        masks_mean: meaning of the numbers in the masks.
        output: the prepared folder.
        force: continue even if the space is not enough.

    Raises:
        ValueError: if the space is not enough.
    """
    needed = int(MARGIN * estimate_bytes(records, settings, masks_mean))
    paths = (output / path for record in records for path in prepared_paths(record) if path)
    needed -= sum(path.stat().st_size for path in paths if path.is_file())
    free = shutil.disk_usage(_nearest_folder(output)).free
    log.info(
        "%d volumes need about %s more in %s, where %s are free",
        len(records),
        words(max(needed, 0)),
        output,
        words(free),
    )
    if needed > free and not force:
        raise ValueError(
            f"{output}: about {words(needed)} are needed and {words(free)} are free; free some "
            "space, choose another output or a smaller grid, or continue at your own risk with "
            "--force"
        )


def words(size: int) -> str:
    """A number of bytes in GB, MB or kB."""
    for unit, one in (("GB", 1e9), ("MB", 1e6)):
        if size >= one:
            return f"{size / one:.1f} {unit}"
    return f"{size / 1e3:.0f} kB"


def _voxels(records: Sequence[ScanRecord], settings: PrepareSettings) -> float:
    """Mean number of voxels of a prepared volume."""
    grid = settings.grid
    if grid.shape is not None:
        return float(np.prod(grid.shape))
    step = max(1, len(records) // LOOKED_AT)
    return float(np.mean([_size_of(record, settings) for record in records[::step]]))


def _size_of(record: ScanRecord, settings: PrepareSettings) -> float:
    try:
        with open_payload(record.volume) as payload:
            header = read_header(payload)
    except (ValueError, OSError):  # another format, or a file that will be refused by name
        return float(size_on_disk(record.volume)) if record.volume.exists() else 0.0
    view, affine = to_canonical(np.empty(header.shape, np.bool_), header.affine)
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    wanted = settings.grid.spacing_mm or (None, None, None)
    ratio = [s / (w or s) for s, w in zip(spacing, wanted, strict=True)]
    return float(np.prod(view.shape) * np.prod(ratio))


def _nearest_folder(path: Path) -> Path:
    path = path.absolute()
    while not path.is_dir():
        path = path.parent
    return path
