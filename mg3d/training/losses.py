"""Losses by name: their weighted total, and a stop where one is NaN or infinite."""

import math
from collections.abc import Callable, Collection, Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

RESERVED = ("step", "seconds", "learning_rate", "total")  # columns of the history


def weigh(terms: Mapping[str, Tensor], weights: Mapping[str, float]) -> Float[Tensor, ""]:
    """The weighted total of the losses: sum of weight times loss.

    Args:
        terms: losses by name; those without a weight are left out of the total.
        weights: weight of each loss.

    Raises:
        ValueError: if no loss has a weight.
    """
    if not set(terms) & set(weights):
        raise ValueError(
            f"no loss of {', '.join(terms) or 'this step'} has a weight (weights are for "
            f"{', '.join(weights) or 'none'}); give one of them a weight"
        )
    shares = [weights[name] * term.reshape(()) for name, term in terms.items() if name in weights]
    return torch.stack(shares).sum()


def check_losses(terms: Any) -> None:
    """Refuse what is not losses by name, each of them one number.

    Args:
        terms: what a step gave.

    Raises:
        ValueError: naming the loss.
    """
    if not isinstance(terms, Mapping):
        raise ValueError(
            f"a step gives losses by name, such as {{'mse': loss}}, got {type(terms).__name__}"
        )
    for name, term in terms.items():
        if name in RESERVED:
            raise ValueError(
                f"'{name}' is a column of the history; give the loss of this name another one"
            )
        if not isinstance(term, Tensor):
            raise ValueError(
                f"loss {name} is a {type(term).__name__}, expected a tensor of one number; wrap "
                "what is only recorded in torch.tensor"
            )
        if term.numel() != 1:
            raise ValueError(
                f"loss {name} has the shape {tuple(term.shape)}, expected one number; take its mean"
            )


def check_taught(
    terms: Mapping[str, Tensor], weights: Mapping[str, float], total: Float[Tensor, ""]
) -> None:
    """Refuse a step from which not everything is learned that was asked for.

    Args:
        terms: losses by name, as a step gives them.
        weights: share of each in the total.
        total: as `weigh` gives it.

    Raises:
        ValueError: if a weight is for a loss that is not there, or no parameter has a part in the
            total.
    """
    absent = [name for name in weights if name not in terms]
    if absent:
        raise ValueError(
            f"there is a weight for {', '.join(absent)}, but the losses of this step are "
            f"{', '.join(terms)}; correct the name, or leave the weight out"
        )
    if not total.requires_grad:
        raise ValueError(
            f"nothing learns from {', '.join(weights)}: no parameter that requires a gradient has "
            "a part in it; compute it from what the module gives, without detach or no_grad, and "
            "leave some parameters trainable"
        )


def check_finite(
    losses: Mapping[str, float],
    step: int,
    checkpoint: Callable[[], str],
    suspects: Collection[str] = (),
) -> None:
    """Raise an error before a checkpoint with NaN replaces a good one.

    Args:
        losses: of one step, by name; those that teach.
        step: its number, from 1.
        checkpoint: describes the last good checkpoint, for the message.
        suspects: patients of the batches whose loss is not finite.

    Raises:
        FloatingPointError: if a loss is NaN or infinite.
    """
    broken = [name for name, value in losses.items() if not math.isfinite(value)]
    if broken:
        came = ", ".join(f"{name} = {losses[name]}" for name in broken)
        raise FloatingPointError(
            f"expected finite losses, got {came} in step {step}{_of(suspects)}; lower "
            f"learning_rate or set max_grad_norm, and {checkpoint()}"
        )


def _of(suspects: Collection[str]) -> str:
    return f", from {', '.join(suspects)}" if suspects else ""


def check_weights(module: nn.Module, step: int, checkpoint: Callable[[], str]) -> None:
    """Stop where a finite loss had a gradient that was not, and spoilt what was to be saved.

    Args:
        module: that learns.
        step: number of the last one.
        checkpoint: as for `check_finite`.

    Raises:
        FloatingPointError: if a parameter is NaN or infinite.
    """
    for name, parameter in module.named_parameters():
        if not bool(torch.isfinite(parameter).all()):
            raise FloatingPointError(
                f"expected finite parameters, got NaN or infinity in {name} after step {step}; "
                "lower learning_rate, look for a square root or logarithm of 0 in the losses, and "
                f"{checkpoint()}"
            )
