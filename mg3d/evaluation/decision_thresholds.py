"""From scores to decisions: thresholds chosen on one named set, used on another.

A threshold chosen on the cases it is then scored on flatters every number that follows (the
released evaluation does so); `choose_thresholds` therefore takes validation cases only, and the
caller names them in the result.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float


def _largest_f1(labels: Float[np.ndarray, " P"], claimed: Float[np.ndarray, "P T"]) -> np.ndarray:
    tp = (claimed * labels[:, None]).sum(0)
    return 2 * tp / (claimed.sum(0) + labels.sum())


def _roc_corner(labels: Float[np.ndarray, " P"], claimed: Float[np.ndarray, "P T"]) -> np.ndarray:
    hit = (claimed * labels[:, None]).sum(0) / labels.sum()
    false_alarm = (claimed * (1 - labels)[:, None]).sum(0) / (1 - labels).sum()
    return -np.hypot(false_alarm, 1 - hit)


# What a threshold is chosen by; larger is better.
RULES: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "f1": _largest_f1,
    "roc_corner": _roc_corner,  # nearest to no false alarm, no miss: the released rule
}


def choose_thresholds(
    labels: Float[np.ndarray, "P C"], scores: Float[np.ndarray, "P C"], rule: str = "f1"
) -> Float[np.ndarray, " C"]:
    """The best threshold of every finding on validation cases.

    Candidates lie halfway between neighbouring scores; of equally good ones the largest is taken.
    NaN for a finding without a positive or without a negative: nothing can be chosen there, and
    `decide` decides nothing.

    Args:
        labels: 1, 0 or NaN (left out).
        scores: larger means more likely.
        rule: "f1" (largest F1) or "roc_corner" (ROC point nearest to (0, 1)).

    Raises:
        ValueError: if there is no such rule.
    """
    if rule not in RULES:
        raise ValueError(f"rule must be one of {', '.join(RULES)}; got {rule!r}")
    thresholds = np.full(labels.shape[1], np.nan)
    for finding in range(labels.shape[1]):
        known = ~np.isnan(labels[:, finding])
        target, score = labels[known, finding], scores[known, finding]
        if 0 < target.sum() < len(target):
            levels = np.unique(score)
            halfway = (levels[:-1] + levels[1:]) / 2
            candidates = np.concatenate([[levels[0] - 1], halfway])[::-1]
            quality = RULES[rule](target, (score[:, None] > candidates).astype(float))
            thresholds[finding] = candidates[np.argmax(quality)]
    return thresholds


def decide(
    scores: Float[np.ndarray, "P C"], thresholds: Float[np.ndarray, " C"]
) -> Float[np.ndarray, "P C"]:
    """1 where the score is above its finding's threshold, else 0; NaN where there is none."""
    return np.where(np.isnan(thresholds), np.nan, scores > thresholds)
