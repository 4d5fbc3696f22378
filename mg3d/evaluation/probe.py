"""Linear probe: how well one logistic regression per finding classifies frozen features.

Features are standardised on the training patients, one L2-regularised logistic regression is fitted
per finding, and AUROC is measured on held-out patients. The regularisation is fixed beforehand: it
is not chosen on the held-out patients. Always show the same probe on the *untrained* encoder beside
it: random convolutions are a strong baseline.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from mg3d.evaluation.metrics import Score, aurocs, bootstrap, macro

INVERSE_REGULARISATION = 0.01  # sklearn's C


@dataclass(frozen=True)
class Probe:
    """Predictions and AUROC of one set of features; P held-out patients, C labels."""

    scores: Float[np.ndarray, "P C"]  # predicted log-odds of held-out patients
    labels: Float[np.ndarray, "P C"]
    per_finding: dict[str, float]  # AUROC; NaN where it is undefined
    macro: Score  # mean over the findings that are defined


def linear_probe(
    train_features: Float[np.ndarray, "P f"],
    train_labels: Float[np.ndarray, "P C"],
    test_features: Float[np.ndarray, "Q f"],
    test_labels: Float[np.ndarray, "Q C"],
    *,
    names: Sequence[str] | None = None,
    seed: int = 0,
) -> Probe:
    """Fit on training patients, score on held-out ones.

    A finding of which the training patients show only one class cannot be fitted: its score is 0
    for every patient and its AUROC NaN.

    Args:
        train_features: one row per training patient.
        train_labels: 1, 0, or NaN (that patient is left out for that finding).
        test_features: one row per held-out patient.
        test_labels: 1, 0 or NaN.
        names: of the labels; None: their column numbers.
        seed: of the bootstrap.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler().fit(train_features)
    train, test = scaler.transform(train_features), scaler.transform(test_features)
    scores = np.zeros(test_labels.shape)
    learnable = np.zeros(test_labels.shape[1], dtype=bool)
    for finding in range(test_labels.shape[1]):
        known = ~np.isnan(train_labels[:, finding])
        target = train_labels[known, finding]
        learnable[finding] = len(np.unique(target)) == 2
        if learnable[finding]:
            model = LogisticRegression(C=INVERSE_REGULARISATION, max_iter=2_000)
            with warnings.catch_warnings():
                warnings.simplefilter("error")  # raise if the fit does not converge
                model.fit(train[known], target)
            scores[:, finding] = model.decision_function(test)
    return score_findings(np.where(learnable, test_labels, np.nan), scores, names=names, seed=seed)


def score_findings(
    labels: Float[np.ndarray, "P C"],
    scores: Float[np.ndarray, "P C"],
    *,
    names: Sequence[str] | None = None,
    seed: int = 0,
) -> Probe:
    """AUROC per finding, and their macro average with an interval over patients.

    Args:
        labels: 1, 0 or NaN.
        scores: larger means more likely.
        names: of the labels; None: their column numbers.
        seed: of the bootstrap.
    """
    values = aurocs(labels, scores)
    overall = bootstrap(
        lambda chosen: macro(aurocs(labels[chosen], scores[chosen])), len(labels), seed=seed
    )
    named = names or [str(number) for number in range(len(values))]
    per_finding = {name: float(value) for name, value in zip(named, values, strict=True)}
    return Probe(scores, labels, per_finding, overall)
