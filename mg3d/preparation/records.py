"""Input and output of preparing: raw volumes, the prepared form, refusals, the result of a run.

An importer makes a `ScanRecord` of each raw volume of its source; `prepare.prepare` does the rest.
`PrepareSettings` holds all preprocessing settings.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from mg3d.text.limit import LeftOut
from mg3d.volumes.grid import MASK_SHARE, Grid
from mg3d.volumes.intensity import Intensity, ProvedHU

LEFT_OUT = "left out by rule: "  # prefix of reasons that are no failure, see `Refusal.by_rule`
KINDS = 5  # number of kinds of refusals that a run prints
NAMED = 20  # number of files per kind that dataset.json names
DTYPES = ("uint8", "float16")


@dataclass(frozen=True, kw_only=True)
class ScanRecord:
    """One raw volume and everything known about it.

    Attributes:
        volume_id: unique, such as "train_1_a_1"; also the name of the prepared file.
        patient_id: the unit of every split.
        scan_id: shared by all reconstructions of a scan.
        reconstruction: number of the reconstruction.
        split: "train", "val" or "test".
        fold: name of the fold the volume is held out in, "" if the data set has none.
        volume: the file, or the folder of its slices.
        findings: text of the report's findings, "" if none.
        impression: text of the report's impression, "" if none.
        labels: label name -> value; None or missing: unknown.
        masks: volume of whole numbers on the same grid, see `MaskMeaning`; None if there is none.
        release: see `decide_rescale`.
        metadata_rescale: slope and intercept from a metadata table, if any.
        metadata_spacing_mm: spacing of the file's axes from that table, if it overrides the
            header's.
    """

    volume_id: str
    patient_id: str
    scan_id: str
    reconstruction: int = 1
    split: str
    fold: str = ""
    volume: Path
    findings: str = ""
    impression: str = ""
    labels: Mapping[str, float | int | None] = field(default_factory=dict)
    masks: Path | None = None
    release: str = "unknown"
    metadata_rescale: tuple[float, float] | None = None
    metadata_spacing_mm: tuple[float, float, float] | None = None


@dataclass(frozen=True, kw_only=True)
class PrepareSettings:
    """All settings of the preprocessing.

    Attributes:
        grid: crop, spacing and shape; the orientation is always that of
            `mg3d.volumes.orientation`.
        hu_window: HU that become 0 and 1; not used if `intensity` does not give HU.
        dtype: "uint8" (0 to 255 over the window) or "float16" (0 to 1).
        mask_share: see `masks_to_grid`.
        intensity: how stored numbers become HU, or 0 to 1 for data that are not in HU.
    """

    grid: Grid
    hu_window: tuple[float, float] = (-1000.0, 1000.0)
    dtype: str = "uint8"
    mask_share: float = MASK_SHARE
    intensity: Intensity = field(default_factory=ProvedHU)

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
        by_rule: the file is left out on purpose (not a chest, a second release), not for a fault.
    """

    file: str
    reason: str
    by_rule: bool = False


@dataclass(frozen=True)
class Prepared:
    """Result of a run.

    Attributes:
        folder: the prepared folder.
        taken: number of volumes in its manifest (or in the part, if only a shard was prepared).
        kept: how many of them an earlier run made.
        refused: files that could not be prepared.
        left_out: files left out by rule.
        shard: part of the work, such as "1/8"; "": all of it.
        reports: how much of the reports exceeds the token limit of `RunOptions.read_by`; None if
            there are no reports, or only a shard was prepared.
    """

    folder: Path
    taken: int
    kept: int
    refused: tuple[Refusal, ...]
    left_out: tuple[Refusal, ...]
    shard: str = ""
    reports: LeftOut | None = None

    @property
    def exit_status(self) -> int:
        """0 if everything was taken, 3 if something was refused."""
        return 3 if self.refused else 0

    def __str__(self) -> str:
        of = f", shard {self.shard}" if self.shard else ""
        lines = [f"{self.folder}{of}: {self.taken} volumes ({self.kept} of them made before)"]
        listed = "listed in refused.csv after the merge" if self.shard else "listed in refused.csv"
        if self.left_out:
            lines.append(f"{len(self.left_out)} left out by rule, {listed}")
        if self.refused:
            first = self.refused[0]
            lines.append(
                f"{len(self.refused)} refused, {listed}; first {first.file}: {first.reason}"
            )
            kinds = group_reasons(self.refused) if len(self.refused) > 1 else []
            lines += [f"  {line}" for line in kinds]
        if self.reports is not None:
            lines.append(str(self.reports))
        if self.shard:
            lines.append(
                f"when all shards are there: python -m data_prep.merge --output {self.folder}"
            )
        return "\n".join(lines)


def describe_settings(settings: PrepareSettings) -> dict[str, Any]:
    """The settings in the form of dataset.json."""
    return json.loads(json.dumps(asdict(settings)))


def group_reasons(refused: Sequence[Refusal]) -> list[str]:
    """One line per kind of refusal, the most frequent first: count, first file, its reason."""
    kinds: dict[str, list[Refusal]] = {}
    for refusal in refused:
        kinds.setdefault(without_details(refusal.reason), []).append(refusal)
    ordered = sorted(kinds.values(), key=len, reverse=True)
    lines = [f"{len(kind)} x, first {kind[0].file}: {kind[0].reason}" for kind in ordered[:KINDS]]
    if len(ordered) > KINDS:
        rest = sum(len(kind) for kind in ordered[KINDS:])
        lines.append(f"{rest} for {len(ordered) - KINDS} other reasons")
    return lines


def without_details(reason: str) -> str:
    """A reason or warning without numbers, names and quotations, to count messages by kind."""
    text = re.sub(r"'[^']*'|[^\s:;,]*\.(?:nii|nii\.gz|csv|json|mha|mhd)\b[^\s:;,]*", "#", reason)
    return re.sub(r"-?\d[\d.,e+-]*", "#", text)


def named(names: Sequence[str]) -> dict[str, Any]:
    """Number of items and the first of them, in the form of dataset.json."""
    return {"count": len(names), "first": list(names[:NAMED])}


def relative(path: Path, root: Path) -> str:
    """A file's name in tables: relative to the source if it lies inside, else the whole path."""
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.as_posix()
