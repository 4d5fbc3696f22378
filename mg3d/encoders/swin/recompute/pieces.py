"""A batch's windows, a few at a time: rows of the map that are in the cache together."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from mg3d.encoders.swin.window_layout import PADDING, SHIFT_MASK, WindowLayout

# Scores worked on at a time, bytes: what a core's cache holds, or what keeps a GPU busy.
PIECE_BYTES = {"cpu": 2**21, "cuda": 2**28}


@dataclass(frozen=True)
class WindowGroup:
    """Windows of one volume that share a mask."""

    rows: Int[Tensor, "w n"]  # of the tokens in the map; 0 for padding
    outside: Bool[Tensor, "w n"] | None  # True for padding; None where there is none
    mask: Float[Tensor, "n n"] | None  # 0 or -100, added to the scores; None where all is 0


@lru_cache(maxsize=256)
def window_groups(layout: WindowLayout) -> tuple[WindowGroup, ...]:
    """Every window of a map, those with the same mask and with or without padding together."""
    outside = layout.rows == PADDING
    kind = outside.any(1, keepdim=True).long()
    if layout.region is not None:
        kind = torch.cat([kind, layout.region], dim=1)
    groups = []
    for same in kind.unique(dim=0):
        members = (kind == same).all(1)
        region = same[1:]
        apart = region[:, None] != region[None, :]
        groups.append(
            WindowGroup(
                layout.rows[members].clamp(min=0),
                outside[members] if same[0] else None,
                apart.float() * SHIFT_MASK if apart.any() else None,
            )
        )
    return tuple(groups)


class Piece:
    """A few windows of one group, of any volumes of the batch.

    Args:
        sources: row of each token in the map of the batch; 0 for padding.
        outside: True for padding; None where there is none.
        targets: like `sources`, but padding goes to a row behind the last.
        bias: of every score, the group's mask included.
    """

    def __init__(
        self,
        sources: Int[Tensor, "w n"],
        outside: Bool[Tensor, "w n"] | None,
        targets: Int[Tensor, "w n"],
        bias: Float[Tensor, "heads n n"],
    ):
        self.size = (*sources.shape, len(bias))
        self.sources, self.targets, self.bias = sources.flatten(), targets.flatten(), bias
        self.outside = None if outside is None else outside.flatten()

    def take(self, rows: Float[Tensor, "R c"]) -> Float[Tensor, "r c"]:
        """Rows of the map that the windows hold; those of padding are arbitrary."""
        return rows.index_select(0, self.sources)

    def put(self, rows: Float[Tensor, "R c"], values: Float[Tensor, "r c"]) -> None:
        """Write the windows' rows into the map; those of padding behind its last row."""
        rows.index_copy_(0, self.targets, values.to(rows.dtype))

    def by_head(self, rows: Float[Tensor, "r c"], parts: int) -> Float[Tensor, "p w heads n k"]:
        """Rows of `parts` vectors side by side, as one vector for each part, head and token."""
        windows, n, heads = self.size
        return rows.view(windows, n, parts, heads, -1).permute(2, 0, 3, 1, 4).contiguous()

    def as_rows(self, vectors: Float[Tensor, "p w heads n k"]) -> Float[Tensor, "r c"]:
        """The way back from `by_head`."""
        return vectors.permute(1, 3, 0, 2, 4).reshape(len(self.sources), -1)


def at_once(bias: Float[Tensor, "heads n n"]) -> int:
    """How many windows make a piece."""
    limit = PIECE_BYTES.get(bias.device.type, PIECE_BYTES["cuda"])
    return max(1, limit // (bias.numel() * bias.element_size()))


def pieces(
    groups: Sequence[WindowGroup], bias: Float[Tensor, "heads n n"], batch: int, rows: int
) -> Iterator[Piece]:
    """All windows of a batch.

    Args:
        groups: windows of one volume.
        bias: of the scores, by relative position.
        batch: volumes.
        rows: tokens of one volume.
    """
    first = torch.arange(batch, device=bias.device)[:, None, None] * rows
    for group in groups:
        sources = (group.rows + first).flatten(0, 1)
        targets, outside = sources, None
        if group.outside is not None:
            outside = group.outside.expand(batch, -1, -1).flatten(0, 1)
            targets = sources.masked_fill(outside, batch * rows)
        masked = bias if group.mask is None else bias + group.mask.to(bias.dtype)
        for start in range(0, len(sources), at_once(bias)):
            few = slice(start, start + at_once(bias))
            yield Piece(
                sources[few], None if outside is None else outside[few], targets[few], masked
            )
