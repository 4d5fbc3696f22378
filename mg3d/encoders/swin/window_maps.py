"""Read the attention maps of a Swin encoder while it runs, for figures.

Training and use never write such a map down; it is made here, from the very tokens that came, and
only inside the block that asks for it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from mg3d.encoders.swin.normed_linear import NormedLinear, compute_dtype
from mg3d.encoders.swin.window_attention import WindowAttention, at_least_single
from mg3d.encoders.swin.window_pieces import pieces
from mg3d.encoders.swin.window_softmax import attention_map


@dataclass(frozen=True)
class WindowMaps:
    """Every window of a batch: how much each of its tokens (row) takes from each other one."""

    weights: Float[Tensor, "w heads n n"]  # rows add up to 1
    places: Int[Tensor, "w n"]  # row of each token in the map (B, H, W, D), C order; -1: padding


@torch.no_grad()
def window_maps(
    attention: WindowAttention, tokens: Float[Tensor, "B H W D c"], norm: nn.LayerNorm
) -> WindowMaps:
    """The maps that `attention` uses for these tokens.

    Args:
        attention: of a block.
        tokens: what comes into it.
        norm: the block's `norm1`.
    """
    groups, own_bias = attention.layout(tokens)
    bias = at_least_single(own_bias)
    rows = tokens.reshape(-1, tokens.shape[-1])
    weights, places = [], []
    dtype = compute_dtype(tokens)
    with torch.autocast(tokens.device.type, enabled=False):
        layer = NormedLinear(attention.first_parameters(norm), dtype, norm.eps)
        for piece in pieces(groups, bias, len(tokens), tokens[0, ..., 0].numel()):
            vectors = piece.by_head(layer.forward(piece.take(rows), piece.outside), 3)
            weights.append(attention_map(vectors[0], vectors[1], piece.bias))
            places.append(piece.targets.view(len(weights[-1]), -1))
    found = torch.cat(places)
    return WindowMaps(torch.cat(weights), found.masked_fill(found == len(rows), -1))


@contextmanager
def record_window_maps(module: nn.Module) -> Iterator[dict[str, WindowMaps]]:
    """Collect the maps of every block inside `module`, by name, each time it runs.

    Ask for a stage rather than for the encoder: maps of the first stage of a 128 x 96 x 128 volume
    take 1 GB a block.

    Example:
        with record_window_maps(encoder.transformer.layers4) as maps:
            encoder(volume)
        maps["0.blocks.1.attn"].weights.shape  # (w, heads, n, n)
    """
    maps: dict[str, WindowMaps] = {}
    handles = []
    for name, part in module.named_modules():
        if isinstance(part, WindowAttention):

            def keep(attention: nn.Module, inputs: Any, name: str = name) -> None:
                assert isinstance(attention, WindowAttention)
                maps[name] = window_maps(attention, *inputs)

            handles.append(part.register_forward_pre_hook(keep))
    try:
        yield maps
    finally:
        for handle in handles:
            handle.remove()
