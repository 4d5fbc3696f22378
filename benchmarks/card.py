"""Peak rates of a device, and the share of them that a training step reaches.

Both limits are measured in the same run: the matrix rate by a product of large matrices in the
step's precision, the memory bandwidth by a copy.
"""

import time
from collections.abc import Callable

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.measure import finish

# Adam, float32: reads weight, gradient and two moments, writes all but the gradient; the backward
# pass writes the gradient, forward and backward read the weight.
PASSES_OVER_WEIGHTS = 10


def shares(
    forward: Callable[[], Tensor],
    parameters: int,
    seconds: float,
    device: str,
    dtype: torch.dtype,
    *,
    size: int = 8192,
) -> dict[str, float]:
    """Rates of a step and of the device.

    Args:
        forward: the step's loss, not compiled; run once more, with its backward pass, to count
            multiplications and additions; recomputation by activation checkpointing is included.
        parameters: number of trained parameters.
        seconds: duration of the step.
        device: of the step.
        dtype: of its matrix products.
        size: edge of the matrices that the limits are measured with.
    """
    with FlopCounterMode(display=False) as counter:
        with torch.autocast(torch.device(device).type, dtype, enabled=dtype != torch.float32):
            loss = forward()
        loss.backward()
    operations = counter.get_total_flops() / seconds
    moved = PASSES_OVER_WEIGHTS * 4 * parameters / seconds
    rate, bandwidth = limits(device, dtype, size)
    return {
        "tflops": operations / 1e12,
        "attainable_tflops": rate / 1e12,
        "share_of_matrix_rate": operations / rate,
        "attainable_gb_per_second": bandwidth / 1e9,
        "least_share_of_bandwidth": moved / bandwidth,  # weights and optimiser alone
    }


def limits(device: str, dtype: torch.dtype, size: int) -> tuple[float, float]:
    """Operations and bytes a second, best of ten."""
    left = torch.randn(size, size, device=device, dtype=dtype)
    right, copied = torch.randn_like(left), torch.empty_like(left)
    product, copy = (
        _best_seconds(work, device) for work in (lambda: left @ right, lambda: copied.copy_(left))
    )
    return 2 * size**3 / product, 2 * left.nbytes / copy


def _best_seconds(work: Callable[[], object], device: str) -> float:
    times = []
    for _ in range(10):
        finish(device)
        start = time.perf_counter()
        work()
        finish(device)
        times.append(time.perf_counter() - start)
    return min(times)
