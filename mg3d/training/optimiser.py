"""Optimiser: parameter groups, learning-rate schedule and weight decay.

The vision encoder has the base learning rate, all other parameters `head_factor` times that;
biases, gains of normalisations and embeddings have no weight decay.

Source: MG-3D (arXiv 2412.05876), implementation details. The released code assigns parameters to
groups by substrings of their names, which leaves a few heads at the base rate; here the groups are
those of the paper, the encoder and the rest.
"""

from collections.abc import Callable

import torch
from torch import nn

from mg3d.config import PretrainConfig
from mg3d.training.checkpoint import Progress

# A name here is also in mg3d.config.settings.OPTIMISERS.
OPTIMISERS = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}


def build_optimiser(module: nn.Module, config: PretrainConfig) -> torch.optim.Optimizer:
    """Adam with four parameter groups: encoder or not, with or without weight decay.

    The learning rate of a group is multiplied by `group["factor"]`.

    Raises:
        ValueError: if `config.optimisation.optimiser` is not a key of `OPTIMISERS`.
    """
    if config.optimisation.optimiser not in OPTIMISERS:
        raise ValueError(
            f"optimiser is one of {', '.join(OPTIMISERS)}; got '{config.optimisation.optimiser}'"
        )
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            in_encoder = name.startswith("model.encoder.")
            # matrices and kernels only; the modality embedding is a matrix of embeddings
            decayed = parameter.ndim > 1 and "modality" not in name
            groups.setdefault((in_encoder, decayed), []).append(parameter)
    return OPTIMISERS[config.optimisation.optimiser](
        [
            {
                "params": parameters,
                "factor": 1.0 if in_encoder else config.optimisation.head_factor,
                "weight_decay": config.optimisation.weight_decay if decayed else 0.0,
            }
            for (in_encoder, decayed), parameters in groups.items()
        ],
        lr=config.optimisation.learning_rate,
    )


def schedule(step: int, *, warmup_steps: int, total_steps: int) -> float:
    """Factor of the learning rate: rises linearly from 0 to 1 (warm-up), then falls linearly to 0.

    Args:
        step: optimiser steps already taken, 0 at the first.
        warmup_steps: step at which the factor is 1.
        total_steps: step at which the factor is 0.
    """
    if step < warmup_steps:
        return step / warmup_steps
    return max(0.0, (total_steps - step) / max(1, total_steps - warmup_steps))


def rate_of(config: PretrainConfig) -> Callable[[Progress], float]:
    """A function that computes the learning rate of the next step from the progress so far."""

    def rate(progress: Progress) -> float:
        return config.optimisation.learning_rate * schedule(
            progress.step + 1,
            warmup_steps=config.optimisation.warmup_steps,
            total_steps=config.optimisation.total_steps,
        )

    return rate


def set_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate of every parameter group, times its `factor` if it has one."""
    for group in optimiser.param_groups:
        group["lr"] = rate * group.get("factor", 1.0)
