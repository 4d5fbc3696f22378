"""Softmax attention inside windows of a map, with a learned bias for each relative position.

Windows are taken from the map a few at a time, normalised, and attended to while they are in the
cache. The backward pass makes the softmax again in the same way, so that no map of it is ever kept:
what training remembers is the tokens that came and the tokens that go.

Source: Swin Transformer (arXiv 2103.14030), section 3.2. Follows the released code where it could
be done otherwise: padding tokens are keys, and a window that was made to fit a small map reads the
first n x n entries of the position index of the full window.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from mg3d.encoders.swin.normed_linear import NormedLinear, compute_dtype
from mg3d.encoders.swin.window_layout import (
    WindowGroup,
    fit_window,
    relative_position_index,
    window_groups,
)
from mg3d.encoders.swin.window_pieces import at_once, pieces
from mg3d.encoders.swin.window_softmax import attend, attention_gradients


class WindowAttention(nn.Module):
    """Every token asks the tokens of its window; padding answers too, with the bias of its key.

    Args:
        dim: channels.
        num_heads: attention heads; divides `dim`.
        window: edges of a window, tokens.
        shifted: whether the windows stand half a window further.
    """

    relative_position_index: Int[Tensor, "n n"]

    def __init__(self, dim: int, num_heads: int, window: Sequence[int], *, shifted: bool):
        super().__init__()
        self.num_heads = num_heads
        self.window = tuple(window)
        self.shifted = shifted
        offsets = math.prod(2 * edge - 1 for edge in window)
        self.relative_position_bias_table = nn.Parameter(torch.empty(offsets, num_heads))
        nn.init.trunc_normal_(self.relative_position_bias_table, std=0.02)
        self.register_buffer("relative_position_index", relative_position_index(window))
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(
        self, tokens: Float[Tensor, "B H W D c"], norm: nn.LayerNorm
    ) -> Float[Tensor, "B H W D c"]:
        """What each token learns from its window.

        Args:
            tokens: the map, not normalised.
            norm: applied to it first; padding is zero behind it.
        """
        groups, bias = self.layout(tokens)
        attended = _AttendInWindows.apply(
            tokens, *self.first_parameters(norm), bias, groups, norm.eps
        )
        return self.proj(attended)

    def first_parameters(self, norm: nn.LayerNorm) -> tuple[Tensor, ...]:
        """Of the normalisation and the layer behind it, as `NormedLinear` takes them."""
        return norm.weight, norm.bias, self.qkv.weight, self.qkv.bias

    def layout(
        self, tokens: Float[Tensor, "B H W D c"]
    ) -> tuple[tuple[WindowGroup, ...], Float[Tensor, "heads n n"]]:
        """The windows of this map, and what their scores get for the relative positions."""
        grid = tuple(tokens.shape[1:4])
        window, shift = fit_window(grid, self.window, shifted=self.shifted)
        groups = window_groups(grid, window, shift, tokens.device)
        n = math.prod(window)
        index = self.relative_position_index[:n, :n].reshape(-1)
        bias = self.relative_position_bias_table[index]  # index_select differentiates slowly
        return groups, bias.T.reshape(self.num_heads, n, n)


class _AttendInWindows(torch.autograd.Function):
    """From tokens to attended values, normalisation and query-key-value layer included."""

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
                found = attend(query, key, value, piece.bias)
                piece.put(attended, piece.as_rows(found[None]))
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
        most = min(at_once(bias), len(tokens) * max(len(g.places) for g in ctx.groups))
        scratch = bias.new_empty(2, most, *bias.shape)
        with torch.autocast(tokens.device.type, enabled=False):
            layer = NormedLinear(parameters, ctx.dtype, ctx.eps)
            layer.start_gradients()
            for piece in pieces(ctx.groups, bias, len(tokens), tokens[0, ..., 0].numel()):
                vectors = piece.by_head(layer.forward(piece.take(rows), piece.outside), 3)
                own = piece.take(grad_attended).to(ctx.dtype)
                if piece.outside is not None:
                    own.masked_fill_(piece.outside[:, None], 0)
                grads, of_bias = attention_gradients(
                    piece.by_head(own, 1)[0], vectors, piece.bias, scratch[:, : piece.size[0]]
                )
                grad_bias.add_(of_bias)
                piece.put(grad_rows, layer.backward(piece.as_rows(grads)))
        return (
            grad_rows[:-1].view(tokens.shape), *layer.gradients(),
            grad_bias.to(given_bias.dtype), None, None,
        )  # fmt: skip


def at_least_single(bias: Float[Tensor, "heads n n"]) -> Float[Tensor, "heads n n"]:
    """The bias in single precision, or double if it is."""
    return bias.to(torch.promote_types(bias.dtype, torch.float32))
