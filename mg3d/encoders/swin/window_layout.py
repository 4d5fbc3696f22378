"""Cut a map into attention windows and put it together again; which tokens may attend to which.

A map is padded at its far ends to whole windows, rolled by the shift, and cut. Rolling brings
tokens from opposite ends of the map into one window; they get -100 added to their scores.

Source: Swin Transformer (arXiv 2103.14030), section 3.2, in 3D as in Swin UNETR (arXiv 2201.01266);
the released code for windows wider than the map and for the value -100.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

SHIFT_MASK = -100.0  # added to the score of two tokens that the roll brought together
PADDING = -1  # in a table of row numbers


def fit_window(
    grid: Sequence[int], window: Sequence[int], *, shifted: bool
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Window and shift along each axis; a map not larger than the window is one, unshifted.

    Args:
        grid: tokens along each axis of the map.
        window: wanted edges, tokens.
        shifted: whether the windows stand half a window further.
    """
    fitted = tuple(min(size, edge) for size, edge in zip(grid, window, strict=True))
    shift = tuple(
        edge // 2 if shifted and size > edge else 0 for size, edge in zip(grid, window, strict=True)
    )
    return fitted, shift


@dataclass(frozen=True, eq=False)
class WindowLayout:
    """How maps of one size are cut into W windows of n tokens; `window_layout` makes it.

    Attributes:
        grid: tokens along each axis of the map.
        window: edges, tokens.
        shift: tokens by which the map is rolled along each axis before it is cut.
        rows: row of each token in the map, counted in C order; `PADDING` where there is none.
        region: tokens of a window attend to each other only within one region. None if all may,
            as where nothing is shifted.
    """

    grid: tuple[int, int, int]
    window: tuple[int, ...]
    shift: tuple[int, ...]
    rows: Int[Tensor, "W n"]
    region: Int[Tensor, "W n"] | None

    @property
    def num_tokens(self) -> int:
        """Of a map."""
        return math.prod(self.grid)

    def cut(self, tokens: Float[Tensor, "B H W D c"]) -> Float[Tensor, "w n c"]:
        """Windows of a map, padded with zeros; those of a patient follow each other, in C order."""
        return _cut(tokens, self.window, self.shift)

    def mask(self, dtype: torch.dtype) -> Float[Tensor, "W n n"] | None:
        """0 for tokens of one region, -100 for others, to be added to their scores; or None."""
        if self.region is None:
            return None
        apart = self.region[:, :, None] != self.region[:, None, :]
        return apart.to(dtype) * SHIFT_MASK

    def join(self, windows: Float[Tensor, "w n c"]) -> Float[Tensor, "B H W D c"]:
        """The map whose windows these are; what stands in the padding is dropped."""
        counts = [math.ceil(size / edge) for size, edge in zip(self.grid, self.window, strict=True)]
        # (B, windows along each axis, edges of a window, c) -> (B, windows x edges, ..., c)
        tokens = windows.view(-1, *counts, *self.window, windows.shape[-1])
        tokens = tokens.permute(0, 1, 4, 2, 5, 3, 6, 7)
        tokens = tokens.flatten(5, 6).flatten(3, 4).flatten(1, 2)
        if any(self.shift):
            tokens = tokens.roll(self.shift, (1, 2, 3))
        return tokens[:, : self.grid[0], : self.grid[1], : self.grid[2]]


@lru_cache(maxsize=256)
def window_layout(
    grid: tuple[int, int, int], window: tuple[int, ...], shifted: bool, device: torch.device
) -> WindowLayout:
    """The layout for maps of this size, kept for the next call.

    Args:
        grid: tokens along each axis of the map.
        window: wanted edges; a smaller map makes them smaller, see `fit_window`.
        shifted: whether the windows stand half a window further.
        device: of the tables.
    """
    window, shift = fit_window(grid, window, shifted=shifted)
    rows = torch.arange(math.prod(grid), device=device).view(1, *grid, 1)
    padded = [math.ceil(size / edge) * edge for size, edge in zip(grid, window, strict=True)]
    region = torch.zeros(1, *padded, 1, dtype=torch.long, device=device)
    for axis, (size, step) in enumerate(zip(padded, shift, strict=True)):
        # The first `step` tokens are rolled to the far end, behind the last ones and the padding.
        wrapped = torch.arange(size, device=device) < step
        region = 2 * region + wrapped.view([-1 if i == axis + 1 else 1 for i in range(5)])
    return WindowLayout(
        grid,
        window,
        shift,
        _cut(rows, window, shift, padding=PADDING).squeeze(-1),
        _cut(region, window, shift).squeeze(-1) if any(shift) else None,
    )


def relative_position_index(window: Sequence[int]) -> Int[Tensor, "n n"]:
    """Row of the bias table for each pair of tokens of a window.

    Rows count the offset (query's position minus key's) along the axes, the last axis fastest.
    """
    positions = torch.cartesian_prod(*(torch.arange(edge) for edge in window))
    offsets = positions[:, None] - positions[None, :]  # (n, n, 3)
    index = torch.zeros(offsets.shape[:2], dtype=torch.long)
    for axis, edge in enumerate(window):
        index = index * (2 * edge - 1) + offsets[..., axis] + edge - 1
    return index


def _cut(
    tokens: Tensor, window: Sequence[int], shift: Sequence[int], *, padding: float = 0
) -> Tensor:
    """Pad (B, H, W, D, c) at the far ends, roll it, and cut it into windows (B * W, n, c)."""
    grid = tokens.shape[1:4]
    missing = [-size % edge for size, edge in zip(grid, window, strict=True)]
    if any(missing):
        tokens = F.pad(tokens, (0, 0, 0, missing[2], 0, missing[1], 0, missing[0]), value=padding)
    if any(shift):
        tokens = tokens.roll([-step for step in shift], (1, 2, 3))
    for axis, edge in zip((1, 3, 5), window, strict=True):  # (B, windows, edge, windows, edge, ...)
        tokens = tokens.unflatten(axis, (-1, edge))
    return tokens.permute(0, 1, 3, 5, 2, 4, 6, 7).flatten(0, 3).flatten(1, 3)
