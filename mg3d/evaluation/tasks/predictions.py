"""Predictions on disk, one JSON file a patient: what every score is computed from, at any time.

With several processes each writes the files of its own patients, so that every patient is counted
once and nothing is gathered.
"""

import json
import shutil
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
from jaxtyping import Int

from mg3d.evaluation.tasks.task import Cases, Prediction
from mg3d.volumes.volume import replace_file

FOLDER = "predictions"


def folder_of(run: Path, split: str) -> Path:
    """Where a run keeps its predictions of a split."""
    return run / FOLDER / split


def begin_predictions(run: Path, split: str) -> Path:
    """An empty folder for the predictions of a split."""
    folder = folder_of(run, split)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def share_of(
    cases: Cases, rank: int = 0, world: int = 1, patients: Sequence[str] | None = None
) -> Int[np.ndarray, " N"]:
    """Numbers of the cases that one process predicts: all those of every `world`-th patient.

    Args:
        cases: of a split.
        rank: of the process.
        world: number of processes.
        patients: to choose from; None: all.
    """
    everybody = cases.patients() if patients is None else list(patients)
    numbers = cases.numbers_of(everybody[rank::world])
    place = {patient: position for position, patient in enumerate(everybody)}
    order = np.argsort([place[cases.patient_id[n]] for n in numbers], kind="stable")
    return numbers[order] if len(numbers) else numbers


def write_predictions(folder: Path, predictions: Iterable[Prediction]) -> int:
    """Write predictions that come patient by patient; returns the number of cases."""
    count = 0
    for patient, own in groupby(predictions, key=lambda prediction: prediction.patient_id):
        cases = [
            {"case_id": one.case_id, "output": dict(one.output), "truth": dict(one.truth)}
            for one in own
        ]
        path = folder / f"{quote(patient, safe='')}.json"
        if path.exists():
            raise ValueError(
                f"{path} is there already: predictions of patient {patient} came in two parts; "
                "predict all cases of a patient together"
            )
        content = {"patient_id": patient, "cases": cases}
        replace_file(path, (json.dumps(content, indent=1) + "\n").encode())
        count += len(cases)
    return count


def read_predictions(folder: Path) -> list[Prediction]:
    """All predictions in a folder, in the order of the patients' names.

    Raises:
        FileNotFoundError: if there is none.
        ValueError: if a file is damaged.
    """
    files = sorted(folder.glob("*.json"))
    if not files:
        raise FileNotFoundError(f"{folder} holds no predictions; run the task that makes them")
    return [prediction for path in files for prediction in _read(path)]


def _read(path: Path) -> Iterator[Prediction]:
    try:
        content: dict[str, Any] = json.loads(path.read_text("utf-8"))
        for case in content["cases"]:
            yield Prediction(case["case_id"], content["patient_id"], case["output"], case["truth"])
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path} is no file of predictions ({error}); run the task again to make it"
        ) from error
