"""What every encoder shares: its interface, the size of volume that fits, normalised maps."""

from collections.abc import Sequence

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


class Encoder(nn.Module):
    """A volume (B, 1, H, W, D) becomes a tuple of maps, fine to coarse; the last one is tokens.

    Attributes:
        width: channels of the last map.
        stride: voxels per token along each axis.
    """

    width: int
    stride: int


def check_fits(shape: Sequence[int], stride: int) -> None:
    """Refuse a volume that the encoder cannot halve as often as it wants.

    Args:
        shape: voxels along each axis.
        stride: the encoder's total stride.

    Raises:
        ValueError: if an axis is not a multiple of the stride.
    """
    if any(size % stride or size == 0 for size in shape):
        nearest = tuple(max(stride, round(size / stride) * stride) for size in shape)
        raise ValueError(
            f"volume of shape {tuple(shape)} must be divisible by {stride}, the encoder's total "
            f"stride; the nearest that fits is {nearest}"
        )


def normalise_channels(features: Float[Tensor, "B C H W D"]) -> Float[Tensor, "B C H W D"]:
    """Each place standardised over its channels, without gain or bias (eps 1e-5)."""
    last = features.movedim(1, -1)
    return F.layer_norm(last, last.shape[-1:]).movedim(-1, 1)
