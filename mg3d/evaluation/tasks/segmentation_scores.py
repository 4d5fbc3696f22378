"""Scores of segmentations from saved predictions: over all structures, and of each by itself."""

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from mg3d.evaluation.metrics import Score
from mg3d.evaluation.per_patient import bootstrap_cases
from mg3d.evaluation.segmentation_metrics import Outcome
from mg3d.evaluation.tasks.task import Measure, Predicted, Prediction

METRICS = ("dice", "nsd", "hd95_mm")


def segmentation_measures(predicted: Predicted, structures: Sequence[str]) -> list[Measure]:
    """Means over cases of the mean over structures, then of each structure; Dice of baselines.

    Cases where a value is undefined are left out of it; a note counts them by name.

    Args:
        predicted: see `Task.metrics`.
        structures: names, without the background.
    """
    cases = predicted.evaluation
    groups = {"": list(structures)}
    if len(structures) > 1:
        groups |= {f"_{name.replace(' ', '_')}": [name] for name in structures}
    found = []
    for suffix, names in groups.items():
        note = _note(cases, names)
        for metric in METRICS:
            values = [_mean(one.output["scores"][name][metric] for name in names) for one in cases]
            score, count = _score(values, cases, predicted.seed)
            found.append(Measure(metric + suffix, score, count, "", note))
        for model in cases[0].output["trivial"]:
            values = [_mean(one.output["trivial"][model][name] for name in names) for one in cases]
            found.append(Measure("dice" + suffix, *_score(values, cases, predicted.seed), model))
    return found


def case_table(predicted: Sequence[Prediction]) -> list[dict[str, Any]]:
    """One row a case and structure: outcome, Dice, NSD, HD95 (mm); None where undefined."""
    return [
        {"structure": name, **scores}
        for one in predicted
        for name, scores in one.output["scores"].items()
    ]


def _mean(values: Any) -> float:
    """Mean of the defined values."""
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else math.nan


def _score(values: Sequence[float], cases: Sequence[Prediction], seed: int) -> tuple[Score, int]:
    known = np.array([n for n, value in enumerate(values) if not math.isnan(value)], dtype=int)
    if not len(known):
        return Score(math.nan, math.nan, math.nan, 0), 0
    defined = np.array(values)[known]
    patients = [cases[n].patient_id for n in known]
    score = bootstrap_cases(lambda rows: float(defined[rows].mean()), patients, seed=seed)
    return score, len(known)


def _note(cases: Sequence[Prediction], names: Sequence[str]) -> str:
    """How many masks were empty, and where the reference is from."""
    scores = [one.output["scores"][name] for one in cases for name in names]
    outcomes = Counter(score["outcome"] for score in scores)
    empties = [f"{outcomes[o]} {o.value}" for o in Outcome if o is not Outcome.SCORED]
    origin = ", ".join(sorted({one.truth["reference"] for one in cases}))
    return f"{', '.join(empties)}; reference: {origin}"
