"""Scores of classifications from saved predictions, each beside its trivial baseline."""

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float, Int

from mg3d.evaluation.classification_metrics import Decisions, average_precision, balanced_accuracy
from mg3d.evaluation.decision_thresholds import choose_thresholds, decide
from mg3d.evaluation.metrics import Score, auroc, aurocs, macro
from mg3d.evaluation.per_patient import bootstrap_cases
from mg3d.evaluation.tasks.task import Measure, Predicted, Prediction

NEVER, CHANCE, MAJORITY = "trivial: never", "trivial: same score", "trivial: majority class"


def table_of(
    predictions: Sequence[Prediction], column: str, place: int
) -> tuple[Float[np.ndarray, " N"], Float[np.ndarray, " N"], list[str]]:
    """Labels, scores and patients of the cases whose label is known.

    Args:
        predictions: with a list `output`, and `truth` by column.
        column: of the label.
        place: of its score in the output.
    """
    known = [one for one in predictions if one.truth[column] is not None]
    labels = np.array([one.truth[column] for one in known], dtype=float)
    scores = np.array([one.output["output"][place] for one in known], dtype=float)
    return labels, scores, [one.patient_id for one in known]


def binary_measures(
    predicted: Predicted, column: str, place: int, *, suffix: str = "", decided: bool = False
) -> list[Measure]:
    """AUROC and average precision of one label; F1 and accuracy where there are thresholds.

    Args:
        predicted: see `Task.metrics`.
        column: of the label.
        place: of its logit in the output.
        suffix: of the names of the metrics.
        decided: score decisions too, with the threshold of largest F1 on the threshold set.
    """
    labels, scores, patients = table_of(predicted.evaluation, column, place)
    if not len(labels):
        return []
    found = [
        *_both("auroc" + suffix, auroc, labels, scores, patients, predicted.seed),
        *_both("ap" + suffix, average_precision, labels, scores, patients, predicted.seed),
    ]
    if not decided or not predicted.thresholds:
        return found
    chosen, by, _ = table_of(predicted.thresholds, column, place)
    threshold = choose_thresholds(chosen[:, None], by[:, None])
    claims = decide(scores[:, None], threshold)[:, 0]
    never = np.zeros_like(claims)
    note = f"threshold of largest F1: {threshold[0]:.4g}"
    rules: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
        "f1": lambda y, c: float(Decisions(y[:, None], c[:, None]).f1()[0]),
        "accuracy": lambda y, c: float(Decisions(y[:, None], c[:, None]).accuracy()[0]),
    }
    for name, rule in rules.items():
        for model, given in (("", claims), (NEVER, never)):
            score = _score(rule, labels, given, patients, predicted.seed)
            found.append(Measure(name + suffix, score, len(labels), model, "" if model else note))
    return found


def class_measures(predicted: Predicted, column: str) -> list[Measure]:
    """Accuracy, balanced accuracy and one-vs-rest AUROC, of cases and of patients.

    Cases without a label are left out. A patient's logits are the mean over the patient's cases,
    whose label must be the same; a patient with cases of several labels is scored by cases only.
    """
    counts = predicted.known["counts"]
    known = [one for one in predicted.evaluation if one.truth[column] is not None]
    if not known:
        return []
    labels = np.array([int(one.truth[column]) for one in known])
    logits = np.array([one.output["output"] for one in known], dtype=float)
    patients = [one.patient_id for one in known]
    found = _of_classes(labels, logits, patients, counts, "", predicted.seed)
    names, own = _by_patient(labels, patients)
    if names and len(names) < len(patients):
        whole = np.array([labels[rows[0]] for rows in own])
        mean = np.stack([logits[rows].mean(0) for rows in own])
        found += _of_classes(whole, mean, names, counts, "_per_patient", predicted.seed)
    return found


def _of_classes(
    labels: Int[np.ndarray, " N"],
    logits: Float[np.ndarray, "N k"],
    patients: Sequence[str],
    counts: Sequence[int],
    suffix: str,
    seed: int,
) -> list[Measure]:
    decided = logits.argmax(1)
    majority = np.full_like(decided, int(np.argmax(counts)))
    found = []
    for model, given in (("", decided), (MAJORITY, majority)):
        for name, rule in (("accuracy", _accuracy), ("balanced_accuracy", balanced_accuracy)):
            score = _score(rule, labels, given, patients, seed)
            found.append(Measure(name + suffix, score, len(labels), model))
    one_hot = np.eye(logits.shape[1])[labels]
    shares = np.exp(logits - logits.max(1, keepdims=True))
    shares /= shares.sum(1, keepdims=True)
    for model, given in (("", shares), (CHANCE, np.zeros_like(shares))):
        score = _score(_macro_auroc, one_hot, given, patients, seed)
        found.append(Measure("auroc_one_vs_rest" + suffix, score, len(labels), model))
    return found


def _by_patient(
    labels: Int[np.ndarray, " N"], patients: Sequence[str]
) -> tuple[list[str], list[list[int]]]:
    """Patients whose cases have one label, and the numbers of their cases."""
    rows: dict[str, list[int]] = {}
    for number, patient in enumerate(patients):
        rows.setdefault(patient, []).append(number)
    kept = {patient: own for patient, own in rows.items() if len(set(labels[own])) == 1}
    return list(kept), list(kept.values())


def _both(
    name: str,
    rule: Callable[[np.ndarray, np.ndarray], float],
    labels: Float[np.ndarray, " N"],
    scores: Float[np.ndarray, " N"],
    patients: Sequence[str],
    seed: int,
) -> list[Measure]:
    """A score of the model, and of a model that gives every case the same score."""
    return [
        Measure(name, _score(rule, labels, given, patients, seed), len(labels), model)
        for model, given in (("", scores), (CHANCE, np.zeros_like(scores)))
    ]


def _score(
    rule: Callable[[np.ndarray, np.ndarray], float],
    labels: np.ndarray,
    given: np.ndarray,
    patients: Sequence[str],
    seed: int,
) -> Score:
    return bootstrap_cases(lambda rows: rule(labels[rows], given[rows]), patients, seed=seed)


def _accuracy(labels: Int[np.ndarray, " N"], decided: Int[np.ndarray, " N"]) -> float:
    return float((labels == decided).mean())


def _macro_auroc(one_hot: Float[np.ndarray, "N k"], shares: Float[np.ndarray, "N k"]) -> float:
    return macro(aurocs(one_hot, shares))
