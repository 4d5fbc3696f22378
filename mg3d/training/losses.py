"""Losses by name: their weighted total, and a stop where one is NaN or infinite."""

import math
from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor


def weigh(terms: Mapping[str, Tensor], weights: Mapping[str, float]) -> Float[Tensor, ""]:
    """The weighted total of the losses: sum of weight times loss.

    Args:
        terms: losses by name; those without a weight are left out of the total.
        weights: weight of each loss.

    Raises:
        ValueError: if no loss has a weight.
    """
    shares = [weights[name] * term for name, term in terms.items() if name in weights]
    if not shares:
        raise ValueError(
            f"no loss of {', '.join(terms) or 'this step'} has a weight (weights are for "
            f"{', '.join(weights) or 'none'}); give one of them a weight"
        )
    return torch.stack(shares).sum()


def check_finite(losses: Mapping[str, float], step: int, checkpoint: str) -> None:
    """Raise an error before a checkpoint with NaN replaces a good one.

    Args:
        losses: of one step, by name.
        step: its number, from 1.
        checkpoint: describes the last good checkpoint, for the message.

    Raises:
        FloatingPointError: if a loss is NaN or infinite.
    """
    broken = [name for name, value in losses.items() if not math.isfinite(value)]
    if broken:
        came = ", ".join(f"{name} = {losses[name]}" for name in broken)
        raise FloatingPointError(
            f"expected finite losses, got {came} in step {step}; lower learning_rate or set "
            f"max_grad_norm, and {checkpoint}"
        )
