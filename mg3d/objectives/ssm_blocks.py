"""The SSM loss of many sentences, by blocks of rows: no S x S tensor is held.

The loss is a sum over pairs of sentences, and so is its gradient. Each block of rows is compared
with the sentences of later patients, adds its part to the loss and to the gradient, and is
forgotten. Memory grows with S instead of S squared; the work is that of half the pairs. Loss and
gradient equal those of `ssm.ssm_loss` up to rounding.

Source: MG-3D (arXiv 2412.05876), inter-patient objectives; the sum is only taken in parts.
"""

from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from mg3d.objectives.precision import unit_length

PAIRS_AT_ONCE = 2**22  # of a block; SSM holds all pairs of up to 2,048 sentences at once


def blocked_ssm_loss(
    visual: Float[Tensor, "S h"],
    identity: Float[Tensor, "S e"],
    patient: Int[Tensor, " S"],
    *,
    same_above: float = 0.9,
    different_below: float = 0.6,
    pairs_at_once: int = PAIRS_AT_ONCE,
) -> Float[Tensor, ""]:
    """What `ssm_loss(compare_sentences(...))` gives, in memory that does not hold all pairs.

    Args:
        visual: sentence-informed visual features `h`, all patients concatenated.
        identity: frozen sentence identities `e`; no gradient reaches them.
        patient: index of the patient each sentence belongs to, 0 to B - 1.
        same_above: cosine from which two sentences count as saying the same.
        different_below: cosine up to which they count as saying something else.
        pairs_at_once: pairs of sentences in a block, at least one row of them.

    Raises:
        ValueError: if the thresholds cross, or the batch holds fewer than two patients.
    """
    check_thresholds(same_above, different_below)
    count = torch.bincount(patient)  # (B,)
    num_pairs = pairs_of_patients(count)
    visual, identity = unit_length(visual), unit_length(identity.detach())
    if (patient[1:] < patient[:-1]).any():
        order = patient.argsort(stable=True)
        visual, identity, patient = visual[order], identity[order], patient[order]
    share = 1 / count[patient].to(visual.dtype)
    wanted = visual.requires_grad and torch.is_grad_enabled()
    thresholds = same_above, different_below
    rows = max(1, pairs_at_once // len(patient))
    return _Blocks.apply(visual, identity, patient, share, thresholds, rows, wanted) / num_pairs


class _Blocks(torch.autograd.Function):
    """Forward: loss and gradient of the rows' directions, block by block. Backward: scale it."""

    @staticmethod
    def forward(
        ctx: Any,
        visual: Float[Tensor, "S h"],
        identity: Float[Tensor, "S e"],
        patient: Int[Tensor, " S"],
        share: Float[Tensor, " S"],
        thresholds: tuple[float, float],
        rows: int,
        wanted: bool,
    ) -> Float[Tensor, ""]:
        total = visual.new_zeros(())
        gradient = torch.zeros_like(visual) if wanted else None
        weighted = visual * share[:, None]
        later = torch.searchsorted(patient, patient, right=True).tolist()  # first of the next
        with torch.autocast(visual.device.type, enabled=False):
            for start in range(0, len(patient), rows):
                row = slice(start, start + rows)
                column = slice(later[start], None)  # no pair of these rows lies before
                target, decided = compare_words(identity[row], identity[column], *thresholds)
                error = (visual[row] @ visual[column].mT).mul_(decided).sub_(target)
                counted = patient[row, None] < patient[column]
                total += share[row] @ ((error.abs() * counted) @ share[column])
                if gradient is not None:
                    sign = error.sign_().mul_(counted)  # 0 where undecided: no error
                    gradient[row] += share[row, None] * (sign @ weighted[column])
                    gradient[column] += share[column, None] * (sign.mT @ weighted[row])
        ctx.save_for_backward(gradient)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, scale: Float[Tensor, ""]) -> tuple[Tensor | None, ...]:
        (gradient,) = ctx.saved_tensors
        return scale * gradient, None, None, None, None, None, None


def compare_words(
    left: Float[Tensor, "L e"],
    right: Float[Tensor, "R e"],
    same_above: float,
    different_below: float,
) -> tuple[Float[Tensor, "L R"], Bool[Tensor, "L R"]]:
    """The target of every pair of unit vectors, and whether the pair is decided."""
    with torch.autocast(left.device.type, enabled=False):
        cosine = left @ right.mT
    same = cosine >= same_above
    return torch.where(same, cosine, 0.0), same | (cosine <= different_below)


def pairs_of_patients(sentences_of: Int[Tensor, " B"]) -> float:
    """Number of pairs of patients that have a sentence.

    Raises:
        ValueError: if fewer than two have one.
    """
    num_patients = int((sentences_of > 0).sum())
    if num_patients < 2:
        raise ValueError(
            f"SSM compares patients with one another, but this batch holds {num_patients} with a "
            "sentence; use batch_size >= 2 and drop_last=True"
        )
    return num_patients * (num_patients - 1) / 2


def check_thresholds(same_above: float, different_below: float) -> None:
    """Refuse thresholds in the wrong order.

    Raises:
        ValueError: if they cross.
    """
    if different_below >= same_above:
        raise ValueError(
            f"different_below ({different_below}) must be smaller than same_above ({same_above}); "
            "the paper's are 0.6 and 0.9"
        )
