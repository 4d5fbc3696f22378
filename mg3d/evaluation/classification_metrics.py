"""Average precision, and what decided labels are scored by: accuracy, precision, recall, F1.

"F1" alone says nothing: over findings it is averaged in four ways, and each has its name here. A
label or decision of NaN is unknown and left out. As everywhere, what is undefined is NaN: here the
F1 of a finding that is neither there nor ever claimed.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import ArrayLike

from mg3d.evaluation.metrics import macro


def average_precision(labels: Float[np.ndarray, " P"], scores: Float[np.ndarray, " P"]) -> float:
    """Mean precision over the positives, ranked by score; equal scores enter together.

    The chance level is the prevalence. NaN if there is no positive. Equals scikit-learn's
    `average_precision_score`; written here because its checks cost most of a bootstrap's time.

    Args:
        labels: 1 positive, 0 negative, NaN unknown (left out).
        scores: larger means more likely.
    """
    known = ~np.isnan(labels)
    labels, scores = labels[known], scores[known]
    if not labels.any():
        return float("nan")
    order = np.argsort(-scores, kind="stable")
    hits = np.cumsum(labels[order])
    last_of_tie = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))
    found = np.diff(hits[last_of_tie], prepend=0.0)  # positives that enter at each score
    precision = hits[last_of_tie] / (last_of_tie + 1)
    return float((found * precision).sum() / hits[-1])


def average_precisions(
    labels: Float[np.ndarray, "P C"], scores: Float[np.ndarray, "P C"]
) -> Float[np.ndarray, " C"]:
    """Average precision of every finding; NaN where a finding has no positive."""
    return np.array([average_precision(y, s) for y, s in zip(labels.T, scores.T, strict=True)])


@dataclass(frozen=True)
class Decisions:
    """How decided labels agree with the true ones, over cases and findings.

    Args:
        labels: 1, 0 or NaN (unknown, left out).
        decided: 1, 0 or NaN (no decision, left out). To decide scores: `decide`.
    """

    labels: Float[np.ndarray, "P C"]
    decided: Float[np.ndarray, "P C"]

    def counts(self, axis: int | None) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """True positives, false positives, false negatives, true negatives: summed along an axis.

        Args:
            axis: 0 for one number a finding, 1 for one a case, None for one in all.
        """
        there, absent = self.labels == 1, self.labels == 0
        claimed, denied = self.decided == 1, self.decided == 0
        cells = (there & claimed, absent & claimed, there & denied, absent & denied)
        tp, fp, fn, tn = (np.asarray(cell.sum(axis=axis)) for cell in cells)
        return tp, fp, fn, tn

    def precision(self, axis: int | None = 0) -> np.ndarray:
        """Share of the claims that are true; NaN where nothing is claimed."""
        tp, fp, _, _ = self.counts(axis)
        return _share(tp, tp + fp)

    def recall(self, axis: int | None = 0) -> np.ndarray:
        """Share of the positives that are claimed; NaN where there is none."""
        tp, _, fn, _ = self.counts(axis)
        return _share(tp, tp + fn)

    def f1(self, axis: int | None = 0) -> np.ndarray:
        """2 TP / (2 TP + FP + FN); NaN where a finding is neither there nor claimed."""
        tp, fp, fn, _ = self.counts(axis)
        return _share(2 * tp, 2 * tp + fp + fn)

    def accuracy(self, axis: int | None = 0) -> np.ndarray:
        """Share of right decisions. "Never" reaches 1 - prevalence: show that beside it."""
        tp, fp, fn, tn = self.counts(axis)
        return _share(tp + tn, tp + fp + fn + tn)

    def summary(self) -> dict[str, float]:
        """Every average by its name, 0 to 1.

        - macro: mean over findings of the positive class's value;
        - micro: all cases and findings in one table;
        - weighted: mean over findings, weighted by their positives;
        - sample: mean over cases; a case without finding or claim counts as 1 if `f1_sample`;
        - f1_both_classes: per finding the F1 of "there" and of "not there", weighted by how many
          are so, then the mean over findings. What MG-3D's released evaluation calls F1: "never"
          reaches 0.70 on CT-RATE, so it needs that row beside it;
        - accuracy_macro: mean over findings; accuracy_all: share of cases right in all findings.
        """
        tp, _, fn, _ = self.counts(0)
        f1, positives = self.f1(), tp + fn
        weighted = np.nansum(f1 * positives) / positives.sum() if positives.sum() else np.nan
        by_case = self.f1(axis=1)
        known = ~np.isnan(self.labels) & ~np.isnan(self.decided)
        right = ((self.labels == self.decided) | ~known).all(1)[known.any(1)]
        return {
            "f1_macro": macro(f1),
            "f1_micro": float(self.f1(None)),
            "f1_weighted": float(weighted),
            "f1_sample": macro(np.where(known.any(1) & np.isnan(by_case), 1.0, by_case)),
            "f1_both_classes": macro(self._f1_both_classes()),
            "precision_macro": macro(self.precision()),
            "precision_micro": float(self.precision(None)),
            "recall_macro": macro(self.recall()),
            "recall_micro": float(self.recall(None)),
            "accuracy_macro": macro(self.accuracy()),
            "accuracy_all": float(right.mean()) if len(right) else float("nan"),
        }

    def _f1_both_classes(self) -> Float[np.ndarray, " C"]:
        tp, fp, fn, tn = self.counts(0)
        there = np.nan_to_num(_share(2 * tp, 2 * tp + fp + fn))
        absent = np.nan_to_num(_share(2 * tn, 2 * tn + fp + fn))
        return _share((tp + fn) * there + (tn + fp) * absent, tp + fp + fn + tn)


def balanced_accuracy(labels: Int[np.ndarray, " P"], decided: Int[np.ndarray, " P"]) -> float:
    """Mean over the classes that occur of the share decided rightly; chance is 1 / classes.

    Args:
        labels: class number of each case.
        decided: likewise.
    """
    return float(np.mean([(decided[labels == c] == c).mean() for c in np.unique(labels)]))


def _share(part: ArrayLike, whole: ArrayLike) -> np.ndarray:
    whole = np.asarray(whole, dtype=float)
    return np.divide(part, whole, out=np.full(whole.shape, np.nan), where=whole > 0)
