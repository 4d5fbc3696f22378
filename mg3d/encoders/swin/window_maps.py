"""Read the attention maps of a Swin encoder while it runs, for figures.

The maps are what each block's softmax gives. For the length of the `with` block the encoder calls
every layer as a module, whatever its `window_recompute` says.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from mg3d.encoders.swin.block import Block
from mg3d.encoders.swin.window_layout import PADDING, WindowLayout


@dataclass(frozen=True)
class WindowMaps:
    """Every window of a batch: how much each of its tokens (row) takes from each other one."""

    weights: Float[Tensor, "w heads n n"]  # rows add up to 1
    rows: Int[Tensor, "w n"]  # of the tokens in the map (B, H, W, D), C order; -1: padding


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
    blocks = {name: part for name, part in module.named_modules() if isinstance(part, Block)}
    settings = {name: block.window_recompute for name, block in blocks.items()}
    handles: list[RemovableHandle] = []
    for name, block in blocks.items():
        block.window_recompute = False
        attention = f"{name}.attn" if name else "attn"
        handles += _record(block, maps, attention)
    try:
        yield maps
    finally:
        for handle in handles:
            handle.remove()
        for name, block in blocks.items():
            block.window_recompute = settings[name]


def _record(
    block: Block, maps: dict[str, WindowMaps], name: str
) -> tuple[RemovableHandle, RemovableHandle]:
    """Hook the block for the size of its map, and its softmax for the map itself."""
    layouts: list[WindowLayout] = []

    def remember_layout(block: Block, inputs: tuple[Tensor]) -> None:
        layouts[:] = [block.layout(inputs[0])]

    def keep_weights(softmax: nn.Module, inputs: object, weights: Tensor) -> None:
        (layout,) = layouts
        batch = len(weights) // len(layout.rows)
        first = torch.arange(batch, device=weights.device)[:, None, None] * layout.num_tokens
        rows = (layout.rows + first).masked_fill(layout.rows == PADDING, PADDING)
        maps[name] = WindowMaps(weights.detach(), rows.flatten(0, 1))

    return (
        block.register_forward_pre_hook(remember_layout),
        block.attn.softmax.register_forward_hook(keep_weights),
    )
