"""Linear probe: how well one logistic regression per finding classifies frozen features.

Features are standardised on the training patients, one L2-regularised logistic regression is fitted
per finding, and AUROC is measured on held-out patients. The regularisation is fixed beforehand: it
is not chosen on the held-out patients. Always show the same probe on the *untrained* encoder beside
it: random convolutions are a strong baseline.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

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


@dataclass(frozen=True)
class Weights:
    """A fitted probe as numbers: log-odds = features @ weight.T + bias; f features, C labels."""

    weight: Float[np.ndarray, "C f"]  # of features as they are, not standardised
    bias: Float[np.ndarray, " C"]


def fit_weights(
    train_features: Float[np.ndarray, "P f"], train_labels: Float[np.ndarray, "P C"]
) -> Weights:
    """The probe of `linear_probe` as weights, for whoever needs its gradient.

    A finding that cannot be fitted has weights and bias 0.

    Args:
        train_features: one row per training patient.
        train_labels: 1, 0, or NaN (that patient is left out for that finding).
    """
    scaler, models = _fit(train_features, train_labels)
    empty = np.zeros(train_features.shape[1])
    weight = np.stack([empty if m is None else m.coef_[0] / scaler.scale_ for m in models])
    bias = np.array([0.0 if m is None else float(m.intercept_[0]) for m in models])
    return Weights(weight, bias - weight @ scaler.mean_)


def _fit(
    train_features: Float[np.ndarray, "P f"], train_labels: Float[np.ndarray, "P C"]
) -> tuple[Any, list[Any]]:
    """The scaler of the features, and one regression per finding; None where one class is known."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler().fit(train_features)
    train = scaler.transform(train_features)
    models: list[Any] = []
    for labels in train_labels.T:
        known = ~np.isnan(labels)
        if len(np.unique(labels[known])) != 2:
            models.append(None)
            continue
        model = LogisticRegression(C=INVERSE_REGULARISATION, max_iter=2_000)
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # raise if the fit does not converge
            models.append(model.fit(train[known], labels[known]))
    return scaler, models


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
    scaler, models = _fit(train_features, train_labels)
    test = scaler.transform(test_features)
    scores = np.zeros(test_labels.shape)
    for finding, model in enumerate(models):
        if model is not None:
            scores[:, finding] = model.decision_function(test)
    learnable = np.array([model is not None for model in models])
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
