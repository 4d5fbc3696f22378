"""Cosines, sums of errors and log-softmax are computed in float32, also under mixed precision."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


def at_least_float32(tensor: Tensor) -> Tensor:
    """The tensor in float32, or as it is if it is more precise."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


def unit_length(features: Float[Tensor, "S k"]) -> Float[Tensor, "S k"]:
    """Every row divided by its length."""
    return F.normalize(at_least_float32(features), dim=-1)


def cosines(left: Float[Tensor, "L k"], right: Float[Tensor, "R k"]) -> Float[Tensor, "L R"]:
    """Cosine of every left with every right row."""
    left, right = unit_length(left), unit_length(right)
    with torch.autocast(left.device.type, enabled=False):
        return left @ right.mT
