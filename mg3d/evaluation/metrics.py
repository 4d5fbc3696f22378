"""Scores, each defined once, with intervals over patients.

A score that cannot be computed (a finding nobody has) is NaN, never a number that looks like one.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int


@dataclass(frozen=True)
class Score:
    """A number with what it takes to read it."""

    value: float
    low: float  # end of the 95 % interval over patients
    high: float
    n: int  # patients

    def __str__(self) -> str:
        digits = 5 if abs(self.value) < 0.01 else 3
        value, low, high = (f"{x:.{digits}f}" for x in (self.value, self.low, self.high))
        return f"{value} [{low}, {high}], n = {self.n}"


def auroc(labels: Float[np.ndarray, " P"], scores: Float[np.ndarray, " P"]) -> float:
    """Area under the ROC curve: how often a positive scores above a negative, ties as one half.

    Args:
        labels: 1 positive, 0 negative, NaN unknown (left out).
        scores: larger means more likely.
    """
    from scipy.stats import rankdata

    known = ~np.isnan(labels)
    positive = labels[known] == 1
    num_positive, num_negative = int(positive.sum()), int((~positive).sum())
    if not num_positive or not num_negative:
        return float("nan")
    ranks = rankdata(scores[known])
    wins = ranks[positive].sum() - num_positive * (num_positive + 1) / 2
    return float(wins / (num_positive * num_negative))


def aurocs(
    labels: Float[np.ndarray, "P C"], scores: Float[np.ndarray, "P C"]
) -> Float[np.ndarray, " C"]:
    """AUROC of every finding; NaN where a finding has no positive or no negative."""
    return np.array([auroc(y, s) for y, s in zip(labels.T, scores.T, strict=True)])


def macro(values: Float[np.ndarray, " C"]) -> float:
    """Mean over the findings that could be scored; NaN if none could."""
    return float(np.nanmean(values)) if np.isfinite(values).any() else float("nan")


def recall_at(k: int, similarity: Float[np.ndarray, "Q G"]) -> Float[np.ndarray, " Q"]:
    """Whether each query's own item (same index) is among its `k` most similar, 0 or 1.

    Ties are shared out: a query that ties with others gets the chance of being drawn among them.
    """
    own = np.diag(similarity)[:, None]
    better = (similarity > own).sum(1)
    tied = (similarity == own).sum(1)  # counts the own item too
    return np.clip((k - better) / tied, 0.0, 1.0)


def retrieval_pools(num_patients: int, pool_size: int, seed: int) -> list[Int[np.ndarray, " G"]]:
    """Disjoint pools of patients, drawn at random; patients that fill no pool are left out.

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
    """A statistic with its 95 % percentile interval over resampled patients.

    Args:
        statistic: of the patients with these indices; a draw for which it is NaN is left out.
        num_patients: to draw from, with replacement.
        seed: of the draws.
        draws: how many.
    """
    numbers = np.random.default_rng(seed)
    values = [statistic(numbers.integers(num_patients, size=num_patients)) for _ in range(draws)]
    finite = np.array([value for value in values if np.isfinite(value)])
    low, high = np.percentile(finite, [2.5, 97.5]) if len(finite) else (np.nan, np.nan)
    whole = statistic(np.arange(num_patients))
    return Score(float(whole), float(low), float(high), num_patients)
