"""Report-to-volume retrieval: which of 64 volumes belongs to this report?

Two protocols, each with its chance level and a control with shuffled reports.

- **own head**: the model's own `clip` head projects volumes and reports; nothing is fitted. Only a
  model trained with `clip` has one.
- **alignment head**: ridge regression from frozen volume features to frozen report features, fitted
  on training patients, so that any encoder can be evaluated, the untrained one included.

Source: protocol of CT-RATE report-to-volume retrieval (Recall@K), on pools of equal size.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from mg3d.evaluation.encode import Encoded, project_reports, project_volumes
from mg3d.evaluation.metrics import Score, bootstrap, recall_at, retrieval_pools
from mg3d.objectives.clip import CLIP
from mg3d.training.step import Pretraining

RIDGE = 1.0  # L2 penalty per training patient, on standardised features


@dataclass(frozen=True)
class Retrieval:
    """Recall@k within pools of patients, with chance level and control."""

    recall: Score  # share of reports whose patient's volume is among the first k
    shuffled: Score  # the same, with each report replaced by another one of its pool
    chance: float  # k / pool_size, at most 1
    pool_size: int
    k: int


def retrieve(
    reports: Float[np.ndarray, "P d"],
    volumes: Float[np.ndarray, "P d"],
    *,
    k: int = 5,
    pool_size: int = 64,
    seed: int = 0,
) -> Retrieval:
    """Rank the volumes of each pool for every report of that pool, by cosine.

    Args:
        reports: one row per patient.
        volumes: one row per patient, in the same order and the same space as `reports`.
        k: a report counts as a hit if its volume is among the first `k`.
        pool_size: volumes to choose from; all patients if there are fewer.
        seed: of the pools, the shuffling and the bootstrap.
    """
    pools = retrieval_pools(len(reports), pool_size, seed)
    unit_reports, unit_volumes = _unit(reports), _unit(volumes)
    numbers = np.random.default_rng([seed, 1])
    hits, shuffled = [], []
    for pool in pools:
        similarity = unit_reports[pool] @ unit_volumes[pool].T
        hits.append(recall_at(k, similarity))
        shuffled.append(recall_at(k, similarity[_derangement(len(pool), numbers)]))
    size = len(pools[0])
    return Retrieval(
        _mean_score(np.concatenate(hits), seed),
        _mean_score(np.concatenate(shuffled), seed),
        min(1.0, k / size),
        size,
        k,
    )


def similarity_of(pretraining: Pretraining, encoded: Encoded) -> Float[np.ndarray, "P P"]:
    """Cosine of every report (row) with every volume (column).

    Vectors are projected by the CLIP head; in a run without one, they are compared as they are.

    Args:
        pretraining: the model that `encoded` was made with.
        encoded: the patients.
    """
    head = pretraining.find(CLIP)
    if head is not None:
        return project_reports(head, encoded) @ project_volumes(head, encoded).T
    return _unit(encoded.report_vector) @ _unit(encoded.volume_vector).T


def align(
    train_volumes: Float[np.ndarray, "P f"],
    train_reports: Float[np.ndarray, "P e"],
    test_volumes: Float[np.ndarray, "Q f"],
    test_reports: Float[np.ndarray, "Q e"],
) -> tuple[Float[np.ndarray, "Q w"], Float[np.ndarray, "Q w"]]:
    """Predict report features from volume features by ridge regression; (volumes, reports) of test.

    Report features are centred and PCA-whitened with the training patients' mean and covariance.
    Centring removes what all reports share; principal components of very small variance are dropped
    (w of e remain). The regression predicts the whitened report from the standardised volume
    features. Both returned arrays are in the whitened space, so that their rows can be compared.
    """
    mean, scale = train_volumes.mean(0), train_volumes.std(0) + 1e-6
    centre = train_reports.mean(0)
    # Whitening: rotate to the principal axes (columns of `axes`) and divide by the standard
    # deviation along each. Without the threshold, axes without variance would amplify rounding.
    values, axes = np.linalg.eigh(np.cov((train_reports - centre).T))
    keep = values > 1e-4 * values.max()
    whiten = axes[:, keep] / np.sqrt(values[keep])  # (e, w)

    inputs = (train_volumes - mean) / scale
    targets = (train_reports - centre) @ whiten
    # Normal equations of ridge regression: (X^T X + penalty I) weight = X^T Y.
    ridge = RIDGE * len(inputs) * np.eye(inputs.shape[1])
    weight = np.linalg.solve(inputs.T @ inputs + ridge, inputs.T @ targets)
    return (test_volumes - mean) / scale @ weight, (test_reports - centre) @ whiten


def _unit(rows: Float[np.ndarray, "P d"]) -> Float[np.ndarray, "P d"]:
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)


def _derangement(size: int, numbers: np.random.Generator) -> Int[np.ndarray, " G"]:
    """Draw a permutation without fixed points (for size 1, the identity)."""
    order = numbers.permutation(size)
    shuffled = np.empty(size, dtype=np.int64)
    shuffled[order] = np.roll(order, 1)  # one cycle through all elements in random order
    return shuffled


def _mean_score(hits: Float[np.ndarray, " P"], seed: int) -> Score:
    return bootstrap(lambda chosen: float(hits[chosen].mean()), len(hits), seed=seed)
