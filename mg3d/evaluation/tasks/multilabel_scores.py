"""Scores of several yes/no labels from saved predictions, each beside its trivial baseline."""

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float, Int

from mg3d.evaluation.classification_metrics import Decisions, average_precisions
from mg3d.evaluation.decision_thresholds import choose_thresholds, decide
from mg3d.evaluation.metrics import Score, auroc, aurocs, macro
from mg3d.evaluation.per_patient import bootstrap_cases
from mg3d.evaluation.tasks.class_scores import CHANCE, NEVER
from mg3d.evaluation.tasks.task import Measure, Predicted, Prediction

DECIDED = ("f1_macro", "f1_both_classes", "precision_macro", "accuracy_macro")


def multilabel_measures(predicted: Predicted) -> list[Measure]:
    """Scores of several yes/no labels: means over labels first, then the AUROC of each."""
    names, labels, scores, patients = _tables(predicted.evaluation)
    learned = ~np.isin(names, predicted.known.get("not_learned", []))
    labels = np.where(learned, labels, np.nan)
    same = np.zeros_like(scores)
    rules: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
        "auroc_macro": lambda y, s: macro(aurocs(y, s)),
        "ap_macro": lambda y, s: macro(average_precisions(y, s)),
    }
    found = []
    for name, rule in rules.items():
        for model, given in (("", scores), (CHANCE, same)):
            found.append(_measure(name, rule, labels, given, patients, predicted.seed, model))
    if predicted.thresholds:
        _, by, chosen, _ = _tables(predicted.thresholds)
        claims = decide(scores, choose_thresholds(by, chosen))
        never = np.where(np.isnan(claims), np.nan, 0.0)
        for model, given in (("", claims), (NEVER, never)):
            found += _decided(labels, given, patients, predicted.seed, model)
    for place, name in enumerate(names):
        column = labels[:, place]
        if 0 < np.nansum(column) < np.sum(~np.isnan(column)):
            own = scores[:, place]
            metric = f"auroc: {name}"
            score = _measure(metric, auroc, column, own, patients, predicted.seed, "")
            same_for_all = Score(0.5, 0.5, 0.5, score.score.n)  # of every draw, exactly
            found += [score, Measure(metric, same_for_all, score.num_cases, CHANCE)]
    return found


def _decided(
    labels: Float[np.ndarray, "N C"],
    claims: Float[np.ndarray, "N C"],
    patients: Sequence[str],
    seed: int,
    model: str,
) -> list[Measure]:
    """All `DECIDED` scores; the same draws serve all of them, and each draw is counted once."""
    summaries: dict[bytes, dict[str, float]] = {}

    def summary(rows: Int[np.ndarray, " N"]) -> dict[str, float]:
        key = rows.tobytes()
        if key not in summaries:
            summaries[key] = Decisions(labels[rows], claims[rows]).summary()
        return summaries[key]

    scores = {
        name: bootstrap_cases(
            lambda rows, name=name: summary(rows)[name],  # type: ignore[misc]
            patients,
            seed=seed,
        )
        for name in DECIDED
    }
    return [Measure(name, score, len(labels), model) for name, score in scores.items()]


def _tables(
    predictions: Sequence[Prediction],
) -> tuple[list[str], Float[np.ndarray, "N C"], Float[np.ndarray, "N C"], list[str]]:
    """Names, labels, scores and patients."""
    names = list(predictions[0].truth)
    truth = [[one.truth[name] for name in names] for one in predictions]
    scores = np.array([one.output["output"] for one in predictions], dtype=float)
    return names, np.array(truth, dtype=float), scores, [one.patient_id for one in predictions]


def _measure(
    name: str,
    rule: Callable[[np.ndarray, np.ndarray], float],
    labels: np.ndarray,
    given: np.ndarray,
    patients: Sequence[str],
    seed: int,
    model: str,
) -> Measure:
    score = bootstrap_cases(lambda rows: rule(labels[rows], given[rows]), patients, seed=seed)
    return Measure(name, score, len(labels), model)
