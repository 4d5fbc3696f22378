"""What one training step costs: its floating-point operations, counted, and the weights it trains.

Operations are counted on a real step (forward, backward, recomputation) and not taken from a
formula, so that they hold for any encoder and any set of objectives. A multiplication and an
addition are two operations; only matrix products and convolutions are counted.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from mg3d.data.batch import Batch
from mg3d.training.losses import weigh
from mg3d.training.step import pretrain_step


@dataclass(frozen=True)
class StepCost:
    """One step on one micro-batch."""

    operations: int  # floating-point operations, recomputation included
    parameters: int  # that the step trains: those that get a gradient
    encoder_parameters: int  # of these, the vision encoder's
    patients: int  # in the micro-batch


def step_cost(pretraining: nn.Module, batch: Batch, weights: Mapping[str, float]) -> StepCost:
    """Count one training step; weights and running means stay as they were, without gradients.

    The frozen text encoder is counted only for what it reads anew in every step (reports with
    hidden words): the first of the two passes made here fills its cache, as the first epoch does.

    Args:
        pretraining: a started `Pretraining`, not compiled.
        batch: of its device, masked as the objectives need.
        weights: of the active objectives.
    """
    kept = {name: value.clone() for name, value in pretraining.named_buffers()}  # running means
    devices = sorted({p.device.index or 0 for p in pretraining.parameters() if p.is_cuda})
    with torch.random.fork_rng(devices=devices):
        with torch.no_grad():
            pretrain_step(pretraining, batch)
        pretraining.zero_grad(set_to_none=True)
        # The counter does not know the fused attention of CPUs, but its two matrix products.
        with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
            weigh(pretrain_step(pretraining, batch), weights).backward()
    trained = {name: p.numel() for name, p in pretraining.named_parameters() if p.grad is not None}
    pretraining.zero_grad(set_to_none=True)
    with torch.no_grad():
        for name, value in pretraining.named_buffers():
            value.copy_(kept[name])
    encoder = sum(size for name, size in trained.items() if name.startswith("model.encoder."))
    return StepCost(counter.get_total_flops(), sum(trained.values()), encoder, len(batch))
