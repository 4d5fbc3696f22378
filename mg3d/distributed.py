"""All-gather with gradient: losses over the global batch. With one process, nothing is done.

Every process evaluates the same loss over the gathered batch. In the backward pass, `gather` sums
the gradients of all processes' losses and returns to each process the part of its own rows.
DistributedDataParallel then averages parameter gradients over processes, which gives exactly the
gradient of one process holding the whole batch.

MG-3D's released code returns the local gradient only, so that its effective gradient is
1 / processes of the true one.
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
    """Rank of this process, 0 to world() - 1."""
    return dist.get_rank() if world() > 1 else 0


def gather(tensor: Tensor) -> Tensor:
    """Concatenate the rows of all processes in rank order; with one process, the tensor itself.

    Differentiable. The first axis may differ between processes, the others may not. Every process
    must call this the same number of times, in the same order, or all wait for one another.
    """
    if world() == 1:
        return tensor
    return _Gather.apply(tensor, gather_sizes(tensor))


def gather_sizes(tensor: Tensor) -> list[int]:
    """Number of rows each process holds, by rank."""
    if world() == 1:
        return [len(tensor)]
    local_size = torch.tensor([len(tensor)], device=tensor.device)
    sizes = [torch.empty_like(local_size) for _ in range(world())]
    dist.all_gather(sizes, local_size)
    return [int(size) for size in sizes]


def gather_offset(tensor: Tensor) -> int:
    """Index of this process's first row in the gathered tensor."""
    return sum(gather_sizes(tensor)[: rank()])


def global_mean(total: Float[Tensor, ""], count: int | float | Tensor) -> Float[Tensor, ""]:
    """Mean over the global batch, from each process's sum and number of terms.

    With it, averaging parameter gradients over processes gives the gradient of one process, even
    when processes hold different numbers of terms. An average of local means would not.

    Args:
        total: sum of this process's terms.
        count: number of this process's terms; may be 0. If all processes have none, the mean is 0.
    """
    terms = torch.as_tensor(count, device=total.device, dtype=total.dtype).detach()
    if world() > 1:
        total = gather(total.reshape(1)).sum()
        terms = gather(terms.reshape(1)).sum()
    return total / terms.clamp(min=torch.finfo(total.dtype).tiny)


def largest(values: Sequence[float], device: torch.device) -> list[float]:
    """Maximum of each value over all processes, so that all processes take the same decision.

    Args:
        values: the same number on every process.
        device: used for communication.
    """
    if world() == 1:
        return list(values)
    maxima = torch.tensor(values, dtype=torch.float64, device=device)
    dist.all_reduce(maxima, op=dist.ReduceOp.MAX)
    return [float(value) for value in maxima]


class _Gather(torch.autograd.Function):
    """Forward: all-gather. Backward: sum over processes, then the rows of this process."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor, sizes: list[int]) -> Tensor:
        ctx.sizes = sizes
        longest = max(sizes)
        missing = longest - len(tensor)  # all_gather needs equal shapes: pad, then cut off again
        padded = F.pad(tensor, (0, 0) * (tensor.ndim - 1) + (0, missing)).contiguous()
        parts = [torch.empty_like(padded) for _ in sizes]
        dist.all_gather(parts, padded)
        return torch.cat([part[:size] for part, size in zip(parts, sizes, strict=True)])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        # Every process's loss depends on these rows: the true gradient is the sum over processes.
        gradient = gradient.contiguous().clone()  # all_reduce works in place
        dist.all_reduce(gradient)
        start = sum(ctx.sizes[: rank()])
        return gradient[start : start + ctx.sizes[rank()]], None
