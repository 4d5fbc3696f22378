"""The global batch: gather a tensor from all processes, with its gradient. Nothing to do on one.

Every process evaluates the same loss over the gathered batch. `gather` gives back to each process
the gradients of all processes' losses for its own rows, summed; averaging parameter gradients over
processes, as DistributedDataParallel does, then gives exactly the gradient of one process holding
the whole batch.

Source: METHOD section 7 (contrastive objectives over the global batch). The released code returns
the local gradient only, so that its effective gradient is 1 / processes of the true one.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


def world() -> int:
    """Number of processes."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Number of this process, 0 to world() - 1."""
    return dist.get_rank() if world() > 1 else 0


def gather(tensor: Tensor) -> Tensor:
    """Rows of all processes, in the order of their ranks, with gradient; itself on one process.

    The first axis may differ between processes, the others may not. Every process must call this
    the same number of times, in the same order.
    """
    if world() == 1:
        return tensor
    return _Gather.apply(tensor, gather_sizes(tensor))


def gather_sizes(tensor: Tensor) -> list[int]:
    """Number of rows each process holds, by rank."""
    if world() == 1:
        return [len(tensor)]
    own = torch.tensor([len(tensor)], device=tensor.device)
    sizes = [torch.empty_like(own) for _ in range(world())]
    dist.all_gather(sizes, own)
    return [int(size) for size in sizes]


def gather_offset(tensor: Tensor) -> int:
    """Row of the gathered tensor at which this process's own rows begin."""
    return sum(gather_sizes(tensor)[: rank()])


def global_mean(total: Float[Tensor, ""], count: int | float | Tensor) -> Float[Tensor, ""]:
    """Mean over the global batch, from each process's sum and number of terms.

    Averaging the parameter gradients over processes gives the one-process gradient even when the
    processes hold different numbers of terms, which averaging local means does not.

    Args:
        total: sum of this process's terms.
        count: how many they are; 0 is allowed. The mean of no term at all is 0.
    """
    terms = torch.as_tensor(count, device=total.device, dtype=total.dtype).detach()
    if world() > 1:
        total = gather(total.reshape(1)).sum()
        terms = gather(terms.reshape(1)).sum()
    return total / terms.clamp(min=torch.finfo(total.dtype).tiny)


def largest(values: Sequence[float], device: torch.device) -> list[float]:
    """The largest of each value over all processes, so that all decide the same.

    Args:
        values: as many on every process.
        device: that the processes talk on.
    """
    if world() == 1:
        return list(values)
    own = torch.tensor(values, dtype=torch.float64, device=device)
    dist.all_reduce(own, op=dist.ReduceOp.MAX)
    return [float(value) for value in own]


class _Gather(torch.autograd.Function):
    """Forward: all-gather. Backward: sum the gradients of all processes, take the own rows."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor, sizes: list[int]) -> Tensor:
        ctx.sizes = sizes
        longest = max(sizes)
        missing = longest - len(tensor)  # all_gather wants equal shapes
        padded = F.pad(tensor, (0, 0) * (tensor.ndim - 1) + (0, missing)).contiguous()
        parts = [torch.empty_like(padded) for _ in sizes]
        dist.all_gather(parts, padded)
        return torch.cat([part[:size] for part, size in zip(parts, sizes, strict=True)])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        gradient = gradient.contiguous().clone()
        dist.all_reduce(gradient)
        start = sum(ctx.sizes[: rank()])
        return gradient[start : start + ctx.sizes[rank()]], None
