"""Sentence similarity matching (SSM): equal sentences of two patients get equal visual features.

For every pair of sentences of two different patients, the cosine of their sentence-informed
features is compared with a target: the cosine of the frozen sentence identities where it is high
(the sentences say the same), 0 where it is low (they do not). Pairs in between are undecided: they
count in the mean with error 0.

Source: MG-3D (arXiv 2412.05876), inter-patient objectives; the released code differs in details,
see Q5, Q17 and Q35 in `docs/quirks.md`.
Trivial optimum: the features are sentence values gated by the volume, so the words alone can solve
it. `identical_loss` and `collapsed_loss` are the losses of features with one cosine for all pairs.
"""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from mg3d.config import PretrainConfig
from mg3d.data.batch import Batch
from mg3d.distributed import gather, gather_offset
from mg3d.model import MG3D, Features
from mg3d.objectives.collapse import feature_spread
from mg3d.objectives.objective import Baseline, Objective, TrainingPatients
from mg3d.objectives.precision import cosines, unit_length
from mg3d.objectives.sfr import SentenceProjection
from mg3d.objectives.ssm_blocks import (
    PAIRS_AT_ONCE,
    blocked_ssm_loss,
    check_thresholds,
    compare_words,
    pairs_of_patients,
)


@dataclass(frozen=True)
class SentencePairs:
    """Every sentence against every sentence; row and column order is that of the batch."""

    visual: Float[Tensor, "S S"]  # cosine between sentence-informed visual features
    target: Float[Tensor, "S S"]  # cosine of the identities where high, 0 elsewhere
    decided: Bool[Tensor, "S S"]  # False where that cosine is neither high nor low
    weight: Float[Tensor, "S S"]  # share of each pair in the loss; 0 within one patient
    patient: Int[Tensor, " S"]  # whose sentence it is, 0 to B - 1


class SSM(Objective):
    """The head h = tanh(MLP(z)) on sentence-informed features z, and its loss.

    Args:
        dim: fusion width d.
        hidden: width inside the head; d / 2 if not given.
        width: of h.
        same_above: cosine from which two sentences count as saying the same.
        different_below: cosine up to which they count as saying something else.
    """

    label = "SSM · sentence similarity"
    trivial_model = "collapsed: all features the same"
    reads = frozenset({"informed_sentences", "identity"})
    min_patients = 2  # it compares patients with one another

    def __init__(
        self,
        dim: int,
        *,
        hidden: int | None = None,
        width: int = 128,
        same_above: float = 0.9,
        different_below: float = 0.6,
    ):
        super().__init__()
        check_thresholds(same_above, different_below)
        self.head = SentenceProjection(dim, hidden or dim // 2, width)
        self.same_above, self.different_below = same_above, different_below

    @classmethod
    def from_config(cls, config: PretrainConfig, model: MG3D) -> "SSM":
        """Build it with the settings of a run."""
        return cls(config.network.dim)

    def visual(self, informed: Float[Tensor, "S d"]) -> Float[Tensor, "S h"]:
        """The features that are compared; each entry between -1 and 1."""
        return self.head(informed).tanh()

    def sentences(
        self, features: Features, batch: Batch
    ) -> tuple[Float[Tensor, "S h"], Float[Tensor, "S e"], Int[Tensor, " S"]]:
        """Visual features, identities and patients of the global batch's sentences."""
        real = ~batch.sentence_padding
        patient = real.nonzero()[:, 0] + gather_offset(batch.sentence_padding)
        visual = self.visual(features.informed_sentences[real])
        return gather(visual), gather(features.identity[real]), gather(patient)

    def compare(self, features: Features, batch: Batch) -> SentencePairs:
        """The pairs of the global batch."""
        return compare_sentences(
            *self.sentences(features, batch),
            same_above=self.same_above,
            different_below=self.different_below,
        )

    def forward(self, features: Features, batch: Batch) -> Float[Tensor, ""]:
        """Mean over pairs of patients of the mean error over their pairs of sentences.

        More than `PAIRS_AT_ONCE` pairs of sentences are compared by blocks.
        """
        visual, identity, patient = self.sentences(features, batch)
        above, below = self.same_above, self.different_below
        if len(patient) ** 2 > PAIRS_AT_ONCE:
            return blocked_ssm_loss(
                visual, identity, patient, same_above=above, different_below=below
            )
        return ssm_loss(
            compare_sentences(visual, identity, patient, same_above=above, different_below=below)
        )

    def baseline(self, features: Features, batch: Batch, train: TrainingPatients) -> Baseline:
        """`identical_loss`, `collapsed_loss` and the spread of the features."""
        pairs = self.compare(features, batch)
        visual = self.visual(features.informed_sentences[~batch.sentence_padding])
        return Baseline(
            float(identical_loss(pairs)),
            unrelated=float(collapsed_loss(pairs)),
            spread=float(feature_spread(visual)),
        )


def compare_sentences(
    visual: Float[Tensor, "S h"],
    identity: Float[Tensor, "S e"],
    patient: Int[Tensor, " S"],
    *,
    same_above: float = 0.9,
    different_below: float = 0.6,
) -> SentencePairs:
    """Compare all sentences of a batch, in one matrix product per modality.

    Args:
        visual: sentence-informed visual features `h`, all patients concatenated.
        identity: frozen sentence identities `e`; no gradient reaches them.
        patient: index of the patient each sentence belongs to, 0 to B - 1; a patient without
            sentences is in no pair.
        same_above: cosine from which two sentences count as saying the same.
        different_below: cosine up to which they count as saying something else.

    Raises:
        ValueError: if the thresholds cross, or the batch holds fewer than two patients.
    """
    check_thresholds(same_above, different_below)
    sentences_of = torch.bincount(patient)  # (B,)
    num_pairs = pairs_of_patients(sentences_of)

    visual_cosine = cosines(visual, visual)
    with torch.no_grad():
        words = unit_length(identity)
        target, decided = compare_words(words, words, same_above, different_below)

        # Each pair of patients counts once (b < c), and equally whatever the reports' lengths.
        share = 1 / sentences_of[patient].to(visual_cosine.dtype)
        weight = (patient[:, None] < patient) * share[:, None] * share / num_pairs

    return SentencePairs(visual_cosine, target, decided, weight, patient)


def ssm_loss(pairs: SentencePairs) -> Float[Tensor, ""]:
    """Weighted mean of |visual - target|; the visual cosine of an undecided pair is set to 0."""
    error = (pairs.visual * pairs.decided - pairs.target).abs()
    return (error * pairs.weight).sum()


def identical_loss(pairs: SentencePairs) -> Float[Tensor, ""]:
    """Trivial baseline: the loss of identical features, which give every pair the cosine 1."""
    return ssm_loss(replace(pairs, visual=torch.ones_like(pairs.visual)))


def collapsed_loss(pairs: SentencePairs) -> Float[Tensor, ""]:
    """Stronger baseline: the best cosine that is the same for all pairs.

    It is the weighted median of the decided pairs' targets, which minimises the absolute error.
    """
    counts = pairs.decided & (pairs.weight > 0)
    target, order = pairs.target[counts].sort()
    if not len(target):
        return pairs.target.new_zeros(())
    share = pairs.weight[counts][order].cumsum(0)
    middle = target[torch.searchsorted(share, share[-1:] / 2)]
    return ssm_loss(
        SentencePairs(
            middle.expand_as(pairs.target), pairs.target, pairs.decided, pairs.weight, pairs.patient
        )
    )
