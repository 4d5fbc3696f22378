"""Metrics, each defined once, with bootstrap intervals over patients.

An undefined metric, such as the AUROC of a finding without positives, is NaN.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int


@dataclass(frozen=True)
class Score:
    """A metric with its 95 % bootstrap interval and the number of patients."""

    value: float
    low: float  # lower end of the 95 % interval over patients
    high: float  # upper end
    n: int  # patients

    def __str__(self) -> str:
        digits = 5 if abs(self.value) < 0.01 else 3
        value, low, high = (f"{x:.{digits}f}" for x in (self.value, self.low, self.high))
        return f"{value} [{low}, {high}], n = {self.n}"


def auroc(labels: Float[np.ndarray, " P"], scores: Float[np.ndarray, " P"]) -> float:
    """Area under the ROC curve: the share of (positive, negative) pairs ranked correctly.

    Tied pairs count one half.

    Args:
        labels: 1 positive, 0 negative, NaN unknown (left out).
        scores: larger means more likely.
    """
    known = ~np.isnan(labels)
    return float(_areas(labels[known, None] == 1, scores[known, None])[0])


def aurocs(
    labels: Float[np.ndarray, "P C"], scores: Float[np.ndarray, "P C"]
) -> Float[np.ndarray, " C"]:
    """AUROC per finding; NaN for a finding without positives or without negatives."""
    known = ~np.isnan(labels)
    complete = known.all(0)
    values = np.full(labels.shape[1], np.nan)
    values[complete] = _areas(labels[:, complete] == 1, scores[:, complete])
    for finding in np.flatnonzero(known.any(0) & ~complete):
        values[finding] = auroc(labels[:, finding], scores[:, finding])
    return values


def _areas(
    positive: Bool[np.ndarray, "P C"], scores: Float[np.ndarray, "P C"]
) -> Float[np.ndarray, " C"]:
    """AUROC of every column, all labels known; the columns at once, as a bootstrap asks often."""
    from scipy.stats import rankdata

    num_positive, num_negative = positive.sum(0), (~positive).sum(0)
    ranks = rankdata(scores, axis=0)  # 1 is the lowest; tied scores share their mean rank
    # Mann-Whitney U: the rank sum of the positives, less what they get among themselves.
    wins = np.where(positive, ranks, 0.0).sum(0) - num_positive * (num_positive + 1) / 2
    with np.errstate(invalid="ignore"):  # 0 of 0 pairs: NaN
        return wins / (num_positive * num_negative)


def macro(values: Float[np.ndarray, " C"]) -> float:
    """Macro average: the mean over findings that are not NaN; NaN if all are."""
    return float(np.nanmean(values)) if np.isfinite(values).any() else float("nan")


def recall_at(k: int, similarity: Float[np.ndarray, "Q G"]) -> Float[np.ndarray, " Q"]:
    """Recall@k per query: 1 if the matching item (same index) is among the `k` most similar, or 0.

    If other items tie with the matching one, the value is the probability that it is among the
    first `k` when the tied items are put in random order.
    """
    matching = np.diag(similarity)[:, None]
    better = (similarity > matching).sum(1)
    tied = (similarity == matching).sum(1)  # counts the matching item too
    return np.clip((k - better) / tied, 0.0, 1.0)


def retrieval_pools(num_patients: int, pool_size: int, seed: int) -> list[Int[np.ndarray, " G"]]:
    """Split patients at random into disjoint pools of equal size; a last partial pool is dropped.

    With fewer patients than `pool_size` there is one pool of all of them.
    """
    order = np.random.default_rng(seed).permutation(num_patients)
    size = min(pool_size, num_patients)
    return [order[i : i + size] for i in range(0, num_patients - size + 1, size)]


def bootstrap(
    statistic: Callable[[Int[np.ndarray, " P"]], float],
    num_patients: int,
    *,
    seed: int = 0,
    draws: int = 1_000,
) -> Score:
    """Percentile bootstrap over patients: a statistic with its 95 % interval.

    Args:
        statistic: computes the value from an array of patient indices, which may repeat. A draw
            for which it is NaN or infinite is left out of the interval.
        num_patients: number of patients; each draw takes as many, with replacement.
        seed: of the resampling.
        draws: number of bootstrap samples.
    """
    numbers = np.random.default_rng(seed)
    # Whole patients are resampled, so that all findings of one patient stay together.
    values = [statistic(numbers.integers(num_patients, size=num_patients)) for _ in range(draws)]
    finite = np.array([value for value in values if np.isfinite(value)])
    low, high = np.percentile(finite, [2.5, 97.5]) if len(finite) else (np.nan, np.nan)
    whole = statistic(np.arange(num_patients))
    return Score(float(whole), float(low), float(high), num_patients)
