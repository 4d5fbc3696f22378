"""Report-to-volume retrieval: which of 64 volumes belongs to this report?

Two protocols, each with its chance level and its shuffled-report control.

- **own head**: the model's own `clip` head compares both; nothing is fitted
  afterwards. Only a model trained with `clip` has one.
- **alignment head**: a linear map from frozen volume to frozen report features is fitted on
  training patients (ridge regression, closed form), so that any encoder, also an untrained one, can
  be asked the same question.

Source: protocol of CT-RATE report-to-volume retrieval (Recall@K), on pools of equal size.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from mg3d.evaluation.encode import Encoded, project_reports, project_volumes
from mg3d.evaluation.metrics import Score, bootstrap, recall_at, retrieval_pools
from mg3d.objectives.clip import CLIP
from mg3d.training.step import Pretraining

RIDGE = 1.0  # times the number of training patients, on standardised features


@dataclass(frozen=True)
class Retrieval:
    """Recall of one similarity matrix over pools of patients."""

    recall: Score  # share of reports whose own volume is among the first k
    shuffled: Score  # the same, each report swapped with another patient's of its pool
    chance: float  # k over the pool's size
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
        reports: one row a patient.
        volumes: one row a patient, same order, same space.
        k: how many of the first ranks count.
        pool_size: volumes to choose from; fewer where there are fewer patients.
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

    In the space of the clip head, or, without one, of the uni-modal vectors.

    Args:
        pretraining: the model that encoded.
        encoded: its patients.
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
    """Map volume features to report features, fitted on training patients: (volumes, reports).

    Reports are centred and whitened on the training patients, so that what all reports share does
    not count, and directions in which they hardly vary are left out (w of e remain); then each
    report is predicted from the standardised volume features by ridge regression.
    """
    mean, scale = train_volumes.mean(0), train_volumes.std(0) + 1e-6
    centre = train_reports.mean(0)
    values, axes = np.linalg.eigh(np.cov((train_reports - centre).T))
    keep = values > 1e-4 * values.max()
    whiten = axes[:, keep] / np.sqrt(values[keep])

    inputs = (train_volumes - mean) / scale
    targets = (train_reports - centre) @ whiten
    ridge = RIDGE * len(inputs) * np.eye(inputs.shape[1])
    weight = np.linalg.solve(inputs.T @ inputs + ridge, inputs.T @ targets)
    return (test_volumes - mean) / scale @ weight, (test_reports - centre) @ whiten


def _unit(rows: Float[np.ndarray, "P d"]) -> Float[np.ndarray, "P d"]:
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)


def _derangement(size: int, numbers: np.random.Generator) -> Int[np.ndarray, " G"]:
    """A random cyclic shift of a random order: nobody keeps their own (if there are two)."""
    order = numbers.permutation(size)
    shuffled = np.empty(size, dtype=np.int64)
    shuffled[order] = np.roll(order, 1)
    return shuffled


def _mean_score(hits: Float[np.ndarray, " P"], seed: int) -> Score:
    return bootstrap(lambda chosen: float(hits[chosen].mean()), len(hits), seed=seed)
