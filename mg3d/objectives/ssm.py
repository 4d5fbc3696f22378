"""Sentence similarity matching (SSM): sentences that agree should ask for the same visual feature.

Two patients whose reports both say "no pleural effusion" should show the encoder the same thing
there. SSM compares every sentence of every patient with every sentence of every other patient and
pulls the visual similarity towards the similarity of the words.

Source: MG-3D (arXiv 2412.05876), inter-patient objectives. Follows the released code: the mean runs
over all sentence pairs, undecided ones included; the head's "batch norm", on the shapes it gets,
standardises each sentence over its features. Departs from it with several processes: sentences of
all patients of the global batch are compared, there only those of one process (Q35). The gradient
that reaches the text projection is cut off there (Q5; `config.quirks.detach_sentences`).
Trivial optimum: the "visual" features are sentence values behind one gate each, so the words alone
solve it. `collapsed_loss` is what features pay that give every pair the same cosine.
"""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from mg3d.data.batch import Batch
from mg3d.distributed import gather, gather_offset
from mg3d.model import Features
from mg3d.objectives.precision import cosines
from mg3d.objectives.sfr import SentenceProjection


@dataclass(frozen=True)
class SentencePairs:
    """Every sentence against every sentence; row and column order is that of the batch."""

    visual: Float[Tensor, "S S"]  # cosine between sentence-informed visual features
    target: Float[Tensor, "S S"]  # what it should be; 0 where the sentences differ
    decided: Bool[Tensor, "S S"]  # False where the words are neither same nor different
    weight: Float[Tensor, "S S"]  # share of each pair in the loss; 0 within one patient
    patient: Int[Tensor, " S"]  # whose sentence it is, 0 to B - 1


class SSM(nn.Module):
    """The head that turns sentence-informed features into what is compared: h = tanh(MLP(z)).

    Args:
        dim: fusion width d.
        hidden: width inside the head; d / 2 if not given.
        width: of h.
        same_above: cosine from which two sentences count as saying the same.
        different_below: cosine up to which they count as saying something else.
    """

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

    def visual(self, informed: Float[Tensor, "S d"]) -> Float[Tensor, "S h"]:
        """What a sentence asks of the volume, each entry between -1 and 1."""
        return self.head(informed).tanh()

    def compare(self, features: Features, batch: Batch) -> SentencePairs:
        """The pairs of the global batch."""
        real = ~batch.sentence_padding
        patient = real.nonzero()[:, 0] + gather_offset(batch.sentence_padding)
        return compare_sentences(
            gather(self.visual(features.informed_sentences[real])),
            gather(features.identity[real]),
            gather(patient),
            same_above=self.same_above,
            different_below=self.different_below,
        )

    def forward(self, features: Features, batch: Batch) -> Float[Tensor, ""]:
        """Mean over pairs of patients of the mean error over their pairs of sentences."""
        return ssm_loss(self.compare(features, batch))


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
        patient: index of the patient each sentence belongs to, 0 to B - 1; a patient without any
            sentence takes part in no pair.
        same_above: cosine from which two sentences count as saying the same.
        different_below: cosine up to which they count as saying something else.

    Raises:
        ValueError: if the thresholds cross, or the batch holds fewer than two patients.
    """
    check_thresholds(same_above, different_below)
    sentences_of = torch.bincount(patient)  # (B,)
    num_patients = int((sentences_of > 0).sum())
    if num_patients < 2:
        raise ValueError(
            f"SSM compares patients with one another, but this batch holds {num_patients} with a "
            "sentence; use batch_size >= 2 and drop_last=True"
        )

    visual_cosine = cosines(visual, visual)
    with torch.no_grad():
        word_cosine = cosines(identity, identity)
        same = word_cosine >= same_above
        decided = same | (word_cosine <= different_below)
        target = torch.where(same, word_cosine, 0.0)

        # Each pair of patients counts once, and equally however long the two reports are.
        share = 1 / sentences_of[patient].to(visual_cosine.dtype)
        num_pairs = num_patients * (num_patients - 1) / 2
        weight = (patient[:, None] < patient) * share[:, None] * share / num_pairs

    return SentencePairs(visual_cosine, target, decided, weight, patient)


def ssm_loss(pairs: SentencePairs) -> Float[Tensor, ""]:
    """Mean absolute difference between visual and target similarity. Zero is perfect."""
    error = (pairs.visual * pairs.decided - pairs.target).abs()
    return (error * pairs.weight).sum()


def identical_loss(pairs: SentencePairs) -> Float[Tensor, ""]:
    """What collapsed features pay: all the same, so that every pair has cosine 1."""
    return ssm_loss(replace(pairs, visual=torch.ones_like(pairs.visual)))


def collapsed_loss(pairs: SentencePairs) -> Float[Tensor, ""]:
    """Trivial baseline: the best cosine that is the same for all pairs.

    It is the weighted median of the decided pairs' targets: no other constant errs less.
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


def check_thresholds(same_above: float, different_below: float) -> None:
    """Refuse thresholds between which nothing can be told.

    Raises:
        ValueError: if they cross.
    """
    if different_below >= same_above:
        raise ValueError(
            f"different_below ({different_below}) must be smaller than same_above ({same_above}); "
            "the paper's are 0.6 and 0.9"
        )
