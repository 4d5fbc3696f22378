"""Which tokens of a map share an attention window, which are padding, and which may not meet.

A map is padded at its far ends to whole windows, rolled by the shift, and cut into windows. Tokens
that the roll brought together from opposite ends get -100 between them. Nothing is rolled or copied
here: a layout is a table of row numbers, made once for a size of map and kept.

Source: Swin Transformer (arXiv 2103.14030), section 3.2, in 3D as in Swin UNETR (arXiv 2201.01266);
the released code for windows wider than the map and for the value -100.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

NOT_MEETING = -100.0  # added to the score of two tokens that the roll brought together


@dataclass(frozen=True)
class WindowGroup:
    """Windows of one volume that share a mask."""

    places: Int[Tensor, "w n"]  # row of each token in the map, in C order; 0 for padding
    outside: Bool[Tensor, "w n"] | None  # True where padding stands; None where there is none
    mask: Float[Tensor, "n n"] | None  # 0 or -100, added to the scores; None where all may meet


def fit_window(
    grid: Sequence[int], window: Sequence[int], *, shifted: bool
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Window and shift along each axis; a map not larger than the window is one, unshifted.

    Args:
        grid: tokens along each axis.
        window: wanted edges, tokens.
        shifted: whether the windows stand half a window further.
    """
    fitted = tuple(min(size, edge) for size, edge in zip(grid, window, strict=True))
    shift = tuple(
        edge // 2 if shifted and size > edge else 0 for size, edge in zip(grid, window, strict=True)
    )
    return fitted, shift


def relative_position_index(window: Sequence[int]) -> Int[Tensor, "n n"]:
    """Row of the bias table for each pair of tokens of a window.

    Rows count the offset (own place minus other place) along the axes, the last axis fastest.
    """
    places = torch.cartesian_prod(*(torch.arange(edge) for edge in window))
    offsets = places[:, None] - places[None, :]  # (n, n, 3)
    index = torch.zeros(offsets.shape[:2], dtype=torch.long)
    for axis, edge in enumerate(window):
        index = index * (2 * edge - 1) + offsets[..., axis] + edge - 1
    return index


@lru_cache(maxsize=256)
def window_groups(
    grid: tuple[int, int, int],
    window: tuple[int, int, int],
    shift: tuple[int, int, int],
    device: torch.device,
) -> tuple[WindowGroup, ...]:
    """Every window of a map, those with the same mask and with or without padding together.

    The result is kept for the next call, so that none of it is made twice; leave it as it is.

    Args:
        grid: tokens along each axis of the map.
        window: edges that `fit_window` gives for it.
        shift: likewise.
        device: of the tables.
    """
    axes = [
        _windows_along(size, edge, step)
        for size, edge, step in zip(grid, window, shift, strict=True)
    ]
    coordinates = [_spread([axis[0] for axis in axes], place) for place in range(3)]
    regions = [_spread([axis[1] for axis in axes], place) for place in range(3)]

    outside = torch.zeros_like(coordinates[0], dtype=torch.bool)
    places, region = torch.zeros_like(coordinates[0]), torch.zeros_like(coordinates[0])
    for size, coordinate, part in zip(grid, coordinates, regions, strict=True):
        outside |= coordinate >= size
        places = places * size + coordinate
        region = region * 2 + part
    places = places.masked_fill(outside, 0)

    kinds = torch.cat([region, outside.any(1, keepdim=True)], dim=1)
    groups = []
    for kind in kinds.unique(dim=0):
        members = (kinds == kind).all(1)
        apart = kind[:-1, None] != kind[None, :-1]
        groups.append(
            WindowGroup(
                places[members].to(device),
                outside[members].to(device) if kind[-1] else None,
                (apart * NOT_MEETING).to(device) if apart.any() else None,
            )
        )
    return tuple(groups)


def _windows_along(
    size: int, edge: int, shift: int
) -> tuple[Int[Tensor, "windows edge"], Int[Tensor, "windows edge"]]:
    """Coordinate and region of every place of every window of one axis, after padding and roll."""
    padded = math.ceil(size / edge) * edge
    rolled = torch.arange(padded)
    region = (rolled >= padded - shift).long()  # 1: came round from the near end
    return ((rolled + shift) % padded).view(-1, edge), region.view(-1, edge)


def _spread(values: list[Int[Tensor, "_ _"]], axis: int) -> Int[Tensor, "windows n"]:
    """Values of one axis at every place of every window of the map, both in C order."""
    sizes = [tuple(value.shape) for value in values]
    windows, edges = zip(*sizes, strict=True)
    shape = [1] * 6
    shape[axis], shape[3 + axis] = sizes[axis]
    return values[axis].view(shape).expand(*windows, *edges).reshape(math.prod(windows), -1)
