"""Which parameter learns how fast: groups, warm-up and decay.

The vision encoder learns at the base rate, everything on top of it `head_factor` times as fast;
biases, gains of norms and embeddings are not decayed.

Source: MG-3D (arXiv 2412.05876), implementation details. The released code sorts parameters into
these groups by substrings of their names, which leaves a few heads at the base rate; here the wall
is where the paper draws it, between the encoder and the rest.
"""

import torch
from torch import nn

from mg3d.config import PretrainConfig

# A name here is also in mg3d.config.settings.OPTIMISERS.
OPTIMISERS = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}


def build_optimiser(module: nn.Module, config: PretrainConfig) -> torch.optim.Optimizer:
    """Adam over four groups: encoder or not, decayed or not; `group["factor"]` scales the rate.

    Raises:
        ValueError: if `config.optimisation.optimiser` is not a key of `OPTIMISERS`.
    """
    settings = config.optimisation
    if settings.optimiser not in OPTIMISERS:
        raise ValueError(f"optimiser is one of {', '.join(OPTIMISERS)}; got '{settings.optimiser}'")
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            in_encoder = name.startswith("model.encoder.")
            decayed = parameter.ndim > 1 and "modality" not in name
            groups.setdefault((in_encoder, decayed), []).append(parameter)
    return OPTIMISERS[settings.optimiser](
        [
            {
                "params": parameters,
                "factor": 1.0 if in_encoder else settings.head_factor,
                "weight_decay": settings.weight_decay if decayed else 0.0,
            }
            for (in_encoder, decayed), parameters in groups.items()
        ],
        lr=settings.learning_rate,
    )


def schedule(step: int, *, warmup_steps: int, total_steps: int) -> float:
    """Factor of the learning rate: linear from 0 over the warm-up, then linear to 0 at the end.

    Args:
        step: optimiser steps already taken, 0 at the first.
        warmup_steps: step at which the factor is 1.
        total_steps: step at which the factor is 0.
    """
    if step < warmup_steps:
        return step / warmup_steps
    return max(0.0, (total_steps - step) / max(1, total_steps - warmup_steps))


def set_learning_rate(optimiser: torch.optim.Optimizer, step: int, config: PretrainConfig) -> float:
    """Give every group the rate of this step; return the base rate."""
    settings = config.optimisation
    rate = settings.learning_rate * schedule(
        step,
        warmup_steps=settings.warmup_steps,
        total_steps=settings.total_steps,
    )
    for group in optimiser.param_groups:
        group["lr"] = rate * group["factor"]
    return rate
