"""From tokens to attended values, a few windows at a time, normalisation and qkv layer included.

Windows are taken from the map, normalised, and attended to while they are in the cache. The
backward pass makes the softmax again in the same way, so that no map of it is ever kept: what
training remembers is the tokens that come and the values that go.

Source: Swin Transformer (arXiv 2103.14030), equation 4.
"""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mg3d.encoders.swin.recompute.normed_linear import NormedLinear, compute_dtype
from mg3d.encoders.swin.recompute.pieces import at_once, pieces, window_groups
from mg3d.encoders.swin.recompute.softmax import attend, attention_gradients
from mg3d.encoders.swin.window_layout import WindowLayout


def attend_in_windows(
    tokens: Float[Tensor, "B H W D c"],
    norm: nn.LayerNorm,
    qkv: nn.Linear,
    position_bias: Callable[[int], Float[Tensor, "heads n n"]],
    layout: WindowLayout,
) -> Float[Tensor, "B H W D c"]:
    """Attention up to, but not including, the output projection.

    Args:
        tokens: the map, not normalised.
        norm: applied to it first; padding is zero behind it.
        qkv: the layer behind the normalisation.
        position_bias: of a window of n tokens, as `WindowAttention` has it.
        layout: windows of the map.
    """
    bias = position_bias(layout.rows.shape[1])
    parameters = (norm.weight, norm.bias, qkv.weight, qkv.bias)
    return _AttendInWindows.apply(tokens, *parameters, bias, window_groups(layout), norm.eps)


class _AttendInWindows(torch.autograd.Function):
    """The autograd function of `attend_in_windows`."""

    @staticmethod
    def forward(
        ctx: Any, tokens: Float[Tensor, "B H W D c"], *rest: Any
    ) -> Float[Tensor, "B H W D c"]:
        *parameters, bias, ctx.groups, ctx.eps = rest
        ctx.save_for_backward(tokens, *parameters, bias)
        ctx.dtype = compute_dtype(tokens)
        bias = at_least_single(bias.detach())  # attached, it would rule out fused attention
        rows = tokens.reshape(-1, tokens.shape[-1])
        attended = rows.new_empty(len(rows) + 1, rows.shape[1], dtype=ctx.dtype)
        with torch.autocast(tokens.device.type, enabled=False):
            layer = NormedLinear(parameters, ctx.dtype, ctx.eps)
            for piece in pieces(ctx.groups, bias, len(tokens), tokens[0, ..., 0].numel()):
                vectors = layer.forward(piece.take(rows), piece.outside)
                query, key, value = piece.by_head(vectors, 3)
                values = attend(query, key, value, piece.bias)
                piece.put(attended, piece.as_rows(values[None]))
        return attended[:-1].view(tokens.shape)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Float[Tensor, "B H W D c"]) -> tuple[Tensor | None, ...]:
        tokens, *parameters, given_bias = ctx.saved_tensors
        bias = at_least_single(given_bias)
        rows = tokens.reshape(-1, tokens.shape[-1])
        grad_attended = grad.reshape(rows.shape)
        grad_rows = rows.new_empty(len(rows) + 1, rows.shape[1])
        grad_bias = torch.zeros_like(bias)
        most = min(at_once(bias), len(tokens) * max(len(g.rows) for g in ctx.groups))
        scratch = bias.new_empty(2, most, *bias.shape)
        with torch.autocast(tokens.device.type, enabled=False):
            layer = NormedLinear(parameters, ctx.dtype, ctx.eps)
            layer.start_gradients()
            for piece in pieces(ctx.groups, bias, len(tokens), tokens[0, ..., 0].numel()):
                vectors = piece.by_head(layer.forward(piece.take(rows), piece.outside), 3)
                grad_values = piece.take(grad_attended).to(ctx.dtype)
                if piece.outside is not None:
                    grad_values.masked_fill_(piece.outside[:, None], 0)
                grads, grad_scores = attention_gradients(
                    piece.by_head(grad_values, 1)[0], vectors, piece.bias,
                    scratch[:, : piece.size[0]],
                )  # fmt: skip
                grad_bias.add_(grad_scores)
                piece.put(grad_rows, layer.backward(piece.as_rows(grads)))
        return (
            grad_rows[:-1].view(tokens.shape), *layer.gradients(),
            grad_bias.to(given_bias.dtype), None, None,
        )  # fmt: skip


def at_least_single(bias: Float[Tensor, "heads n n"]) -> Float[Tensor, "heads n n"]:
    """The bias in single precision, or double if it is."""
    return bias.to(torch.promote_types(bias.dtype, torch.float32))
