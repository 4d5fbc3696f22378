"""The named sets of a downstream run: training, thresholds, evaluation; and who may be in which."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int

from mg3d.data.manifest import FACTS_NAME, NAME, Manifest, read_manifest
from mg3d.data.split import fingerprint
from mg3d.evaluation.tasks.batches import training_patients
from mg3d.evaluation.tasks.task import Cases, Task

EXTERNAL = "external"  # name of the evaluation set where it comes from another data set
FORM = ("grid", "hu_window", "intensity")  # settings of the preparation that voxels depend on


@dataclass(frozen=True)
class Sides:
    """The named sets of a run."""

    train: Cases  # the evaluation cases, where a task needs none
    numbers: Int[np.ndarray, " N"]  # cases of `train` that take part in training
    held_out: dict[str, Cases]  # evaluation set, and the set that thresholds are chosen on
    evaluation: str
    threshold: str  # "": none

    def fingerprint(self) -> str:
        """Hash of the patients and voxels of all sets."""
        everything = [self.train, *self.held_out.values()]
        folders = list(dict.fromkeys(cases.split.folder for cases in everything))
        return "-".join(
            fingerprint(*(cases.split for cases in everything if cases.split.folder == folder))
            for folder in folders
        )


def prepare_sides(
    task: Task, data: Path, evaluate_on: str = "", external: Path | None = None
) -> Sides:
    """Training cases and the sets that are predicted; no patient is in two, see `read_manifest`.

    Args:
        task: prepares the cases.
        data: prepared folder; its training patients are trained on, and thresholds are chosen on
            its validation patients.
        evaluate_on: split that is evaluated; "": test where there is one, else val.
        external: another prepared folder, whose split is evaluated; None: that of `data`.

    Raises:
        ValueError: if there is no such split, a patient is on two sides, or the folders were
            prepared in different forms.
    """
    home = read_manifest(data)
    away = home if external is None else read_manifest(external)
    if external is not None:
        _check_external(home, away)
        task.share_labels(home.labels, away.labels)
    evaluation = split = _evaluated(away, evaluate_on)
    threshold = "val" if "val" in set(home.rows["split"]) else ""
    if external is not None:
        evaluation = EXTERNAL
    elif evaluation == "val":
        threshold = ""
    held_out = {evaluation: task.prepare(away.folder, split)}
    if threshold:
        held_out[threshold] = task.prepare(data, threshold)
    if not task.needs_train:
        nobody = np.array([], dtype=np.int64)
        return Sides(held_out[evaluation], nobody, held_out, evaluation, threshold)
    train = task.prepare(data, "train", training=True)
    numbers = train.numbers_of(training_patients(train, task.config))
    return Sides(train, numbers, held_out, evaluation, threshold)


def _evaluated(manifest: Manifest, asked: str) -> str:
    there = set(manifest.rows["split"])
    split = asked or ("test" if "test" in there else "val")
    if split not in ("val", "test") or split not in there:
        raise ValueError(
            f"{manifest.folder} is evaluated on 'test' or 'val', and has the splits "
            f"{', '.join(sorted(there))}; got evaluate_on '{split}'"
        )
    return split


def _check_external(home: Manifest, away: Manifest) -> None:
    """Refuse a patient of one data set on two sides, and voxels that mean something else."""
    if home.facts.get("source") == away.facts.get("source"):
        twice = sorted(set(home.rows["patient_id"]) & set(away.rows["patient_id"]))
        if twice:
            raise ValueError(
                f"{away.folder / NAME} and {home.folder / NAME} are both of "
                f"{home.facts.get('source', 'unknown source')} and share {len(twice)} patients, "
                f"first {twice[0]}; an external set has none of the patients that were trained on"
            )
    ours, theirs = (_form(manifest) for manifest in (home, away))
    differ = [name for name in FORM if ours and theirs and ours.get(name) != theirs.get(name)]
    if differ:
        name = differ[0]
        raise ValueError(
            f"{away.folder / FACTS_NAME}: {name} is {theirs.get(name)}, and {home.folder} has "
            f"{ours.get(name)}; prepare both with the same options"
        )


def _form(manifest: Manifest) -> dict[str, Any]:
    return dict(manifest.facts.get("settings") or {})
