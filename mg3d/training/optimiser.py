"""Which parameter learns how fast: groups, warm-up and decay.

The vision encoder learns at the base rate, everything on top of it `head_factor` times as fast;
biases, gains of norms and embeddings are not decayed.

Source: MG-3D (arXiv 2412.05876), implementation details. The released code sorts parameters into
these groups by substrings of their names, which leaves a few heads at the base rate; here the wall
is where the paper draws it, between the encoder and the rest.
"""

from collections.abc import Callable

import torch
from torch import nn

from mg3d.config import PretrainConfig
from mg3d.training.checkpoint import Progress

# A name here is also in mg3d.config.settings.OPTIMISERS.
OPTIMISERS = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}


def build_optimiser(module: nn.Module, config: PretrainConfig) -> torch.optim.Optimizer:
    """Adam over four groups: encoder or not, decayed or not; `group["factor"]` scales the rate.

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
    """Factor of the learning rate: linear from 0 over the warm-up, then linear to 0 at the end.

    Args:
        step: optimiser steps already taken, 0 at the first.
        warmup_steps: step at which the factor is 1.
        total_steps: step at which the factor is 0.
    """
    if step < warmup_steps:
        return step / warmup_steps
    return max(0.0, (total_steps - step) / max(1, total_steps - warmup_steps))


def rate_of(config: PretrainConfig) -> Callable[[Progress], float]:
    """The learning rate of the step to come, from what is done."""

    def rate(progress: Progress) -> float:
        return config.optimisation.learning_rate * schedule(
            progress.step + 1,
            warmup_steps=config.optimisation.warmup_steps,
            total_steps=config.optimisation.total_steps,
        )

    return rate


def set_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    """Give every group of parameters this rate, times its `factor` if it has one."""
    for group in optimiser.param_groups:
        group["lr"] = rate * group.get("factor", 1.0)
