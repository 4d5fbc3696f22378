"""Retrieval scores where a query may have several right answers, such as a scan's reconstructions.

Two reconstructions of one scan carry one report: finding the other one is no mistake. Which items
are right, and which are left out of a query's ranking (the query itself), are two tables given by
the caller, so that strict and lenient scores come from the same similarities.

A query is found at K if *any* right item is among the K most similar. Ties are shared out: scores
are expectations over all orders of equal items, so a constant similarity gives exactly chance.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from mg3d.evaluation.metrics import Score
from mg3d.evaluation.per_patient import bootstrap_cases


def same_key(queries: Sequence[str], gallery: Sequence[str]) -> Bool[np.ndarray, "Q G"]:
    """Which items share the query's key: volume (strict), scan (siblings count), or report text."""
    return np.asarray(queries, dtype=str)[:, None] == np.asarray(gallery, dtype=str)[None, :]


@dataclass(frozen=True)
class Ranking:
    """Where each query's best right item stands: behind `better`, among `tied` equals."""

    better: Int[np.ndarray, " Q"]  # items more similar than the best right one
    tied_right: Int[np.ndarray, " Q"]  # right items as similar as that, itself counted
    tied_wrong: Int[np.ndarray, " Q"]

    def recall_at(self, k: int) -> Float[np.ndarray, " Q"]:
        """Chance that a right item is among the first `k`: 0 or 1 where nothing is tied."""
        return _drawn(k - self.better, self.tied_right, self.tied_wrong)

    def rank(self) -> Float[np.ndarray, " Q"]:
        """Expected rank of the first right item, from 1; its median is the median rank."""
        tied = self.tied_right + self.tied_wrong
        return self.better + (tied + 1) / (self.tied_right + 1)

    def reciprocal_rank(self) -> Float[np.ndarray, " Q"]:
        """Expected 1 / rank; its mean is the MRR."""
        value = np.zeros(len(self.better))
        earlier = np.zeros(len(self.better))
        for place in range(1, int(self.tied_wrong.max(initial=0)) + 2):
            found = _drawn(np.full(len(earlier), place), self.tied_right, self.tied_wrong)
            value += (found - earlier) / (self.better + place)
            earlier = found
        return value

    def summary(
        self, patient_ids: Sequence[str], *, ks: Sequence[int] = (1, 5, 10), seed: int = 0
    ) -> dict[str, Score]:
        """Recall at each k, MRR and median rank, with intervals over the queries' patients.

        Chance is the summary of the same right answers with all similarities 0.

        Args:
            patient_ids: patient of each query.
            ks: how many of the first ranks count.
            seed: of the bootstrap.
        """
        values = {f"recall_at_{k}": self.recall_at(k) for k in ks}
        values["mrr"] = self.reciprocal_rank()
        scores = {
            name: bootstrap_cases(lambda q, v=v: float(v[q].mean()), patient_ids, seed=seed)  # type: ignore[misc]
            for name, v in values.items()
        }
        rank = self.rank()
        scores["median_rank"] = bootstrap_cases(
            lambda q: float(np.median(rank[q])), patient_ids, seed=seed
        )
        return scores


def rank_items(
    similarity: Float[np.ndarray, "Q G"],
    right: Bool[np.ndarray, "Q G"],
    left_out: Bool[np.ndarray, "Q G"] | None = None,
) -> Ranking:
    """Rank the gallery for every query.

    Args:
        similarity: larger means more alike.
        right: the right answers.
        left_out: items that take no rank, such as the query itself or its siblings; a right
            answer that is left out is none.

    Raises:
        ValueError: if a similarity is not finite, or a query has no right answer to find.
    """
    if not np.isfinite(similarity).all():
        query, item = np.argwhere(~np.isfinite(similarity))[0]
        raise ValueError(f"similarity of query {query} and item {item} is not a finite number")
    taking_part = np.ones_like(right) if left_out is None else ~left_out
    right = right & taking_part
    without = np.flatnonzero(~right.any(1))
    if len(without):
        raise ValueError(
            f"{len(without)} of {len(right)} queries have no right answer in the gallery, first "
            f"query {without[0]}; leave them out or add their items"
        )
    best = np.where(right, similarity, -np.inf).max(1, keepdims=True)
    tied = taking_part & (similarity == best)
    return Ranking(
        better=(taking_part & (similarity > best)).sum(1),
        tied_right=(tied & right).sum(1),
        tied_wrong=(tied & ~right).sum(1),
    )


def _drawn(
    draws: Int[np.ndarray, " Q"], right: Int[np.ndarray, " Q"], wrong: Int[np.ndarray, " Q"]
) -> Float[np.ndarray, " Q"]:
    """Chance of at least one right item among `draws` without replacement (hypergeometric)."""
    from scipy.special import gammaln

    free = wrong - np.maximum(draws, 0)  # wrong items that must be left over for a miss
    safe = np.maximum(free, 0)
    items = right + wrong
    log_miss = (
        gammaln(wrong + 1) - gammaln(safe + 1) + gammaln(safe + right + 1) - gammaln(items + 1)
    )
    return np.where(draws <= 0, 0.0, np.where(free < 0, 1.0, -np.expm1(log_miss)))
