"""Intervals where a patient has several cases: patients are drawn, with all of their cases.

Two scans of one patient, or two reconstructions of one scan, resemble each other. Drawing cases
one by one would take them for independent and make the interval too narrow.
"""

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Int

from mg3d.evaluation.metrics import Score, bootstrap


def bootstrap_cases(
    statistic: Callable[[Int[np.ndarray, " N"]], float],
    patient_ids: Sequence[str],
    *,
    seed: int = 0,
    draws: int = 1_000,
) -> Score:
    """A statistic of cases with its 95 % percentile interval over resampled patients.

    Args:
        statistic: of the cases with these indices; a draw for which it is NaN is left out.
        patient_ids: patient of each case.
        seed: of the draws.
        draws: how many.

    Raises:
        ValueError: if there is no case.
    """
    if not len(patient_ids):
        raise ValueError("expected at least one case to score, got none")
    names, patient = np.unique(np.asarray(patient_ids, dtype=str), return_inverse=True)
    order = np.argsort(patient, kind="stable")
    cases = np.split(order, np.cumsum(np.bincount(patient))[:-1])
    return bootstrap(
        lambda chosen: statistic(np.concatenate([cases[p] for p in chosen])),
        len(names),
        seed=seed,
        draws=draws,
    )
