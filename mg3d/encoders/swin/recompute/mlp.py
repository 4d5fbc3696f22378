"""tokens + MLP(norm(tokens)), a few rows at a time; wide activations are made again going back.

Training remembers the tokens that came and nothing wider.

Source: Swin Transformer (arXiv 2103.14030), equation 3.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mg3d.encoders.swin.recompute.normed_linear import (
    LinearGradient,
    NormedLinear,
    compute_dtype,
)

# Wide activations worked on at a time, bytes: what a core's cache holds, or what keeps a GPU busy.
PIECE_BYTES = {"cpu": 2**20, "cuda": 2**28}


def add_mlp(
    tokens: Float[Tensor, "B H W D c"], norm: nn.LayerNorm, linear1: nn.Linear, linear2: nn.Linear
) -> Float[Tensor, "B H W D c"]:
    """tokens + linear2(GELU(linear1(norm(tokens)))).

    Args:
        tokens: the map, not normalised.
        norm: applied to it before the first layer.
        linear1: widens.
        linear2: narrows.
    """
    return _AddMLP.apply(
        tokens, norm.weight, norm.bias, linear1.weight, linear1.bias,
        linear2.weight, linear2.bias, norm.eps,
    )  # fmt: skip


class _AddMLP(torch.autograd.Function):
    """The autograd function of `add_mlp`."""

    @staticmethod
    def forward(
        ctx: Any, tokens: Float[Tensor, "B H W D c"], *rest: Any
    ) -> Float[Tensor, "B H W D c"]:
        *parameters, ctx.eps = rest
        ctx.dtype = compute_dtype(tokens)
        ctx.save_for_backward(tokens, *parameters)
        *first, weight, bias = parameters
        rows = tokens.reshape(-1, tokens.shape[-1])
        added = torch.empty_like(rows)
        with torch.autocast(tokens.device.type, enabled=False):
            layer = NormedLinear(first, ctx.dtype, ctx.eps)
            weight, bias = weight.to(ctx.dtype), bias.to(ctx.dtype)
            for few in _pieces(rows, len(layer.weight)):
                wide = torch.nn.functional.gelu(layer.forward(rows[few]))
                torch.add(rows[few], torch.addmm(bias, wide, weight.T), out=added[few])
        return added.view(tokens.shape)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Float[Tensor, "B H W D c"]) -> tuple[Tensor | None, ...]:
        tokens, *first, weight, bias = ctx.saved_tensors
        rows = tokens.reshape(-1, tokens.shape[-1])
        grad = grad.reshape(rows.shape)
        grad_rows = torch.empty_like(rows)
        with torch.autocast(tokens.device.type, enabled=False):
            layer, second = NormedLinear(first, ctx.dtype, ctx.eps), LinearGradient(weight)
            layer.start_gradients()
            used = weight.to(ctx.dtype)
            for few in _pieces(rows, len(layer.weight)):
                wide = layer.forward(rows[few])
                grad_few = grad[few].to(ctx.dtype)
                second.add(torch.nn.functional.gelu(wide), grad_few)
                grad_wide = torch.ops.aten.gelu_backward(grad_few @ used, wide)
                torch.add(grad[few], layer.backward(grad_wide), out=grad_rows[few])
        return (
            grad_rows.view(tokens.shape), *layer.gradients(),
            second.weight.to(weight.dtype), second.bias.to(bias.dtype), None,
        )  # fmt: skip


def _pieces(rows: Float[Tensor, "R c"], wide: int) -> list[slice]:
    limit = PIECE_BYTES.get(rows.device.type, PIECE_BYTES["cuda"])
    at_once = max(1, limit // (wide * rows.element_size()))
    return [slice(start, start + at_once) for start in range(0, len(rows), at_once)]
