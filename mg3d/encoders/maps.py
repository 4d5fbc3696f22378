"""What every encoder shares: its interface, the size of volume that fits, normalised maps."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from mg3d.weights.hub import HubModel


class Encoder(HubModel):
    """A volume (B, 1, H, W, D) becomes a tuple of maps, fine to coarse; the last one is tokens.

    Attributes:
        width: channels of the last map.
        stride: voxels per token along each axis.
        window_recompute: compute a few windows at a time to save memory; of the Swin encoder, and
            without effect on others.
        recipe: name and settings it was built from by `build_encoder`; saved with its weights.
    """

    hub_part: ClassVar[str] = "encoder"
    width: int
    stride: int
    window_recompute: bool = False
    recipe: tuple[str, dict[str, Any]] | None = None

    def _hub_settings(self) -> dict[str, Any]:
        if self.recipe is None:
            raise ValueError(
                "an encoder is saved with the settings it was built from, and this one was built "
                "by hand; use mg3d.encoders.build_encoder(name, **settings)"
            )
        name, settings = self.recipe
        return {"encoder": name, "encoder_settings": settings}

    @classmethod
    def _from_hub_settings(cls, settings: dict[str, Any], source: Path, **given: Any) -> "Encoder":
        from mg3d.encoders import build_encoder

        encoder = build_encoder(settings["encoder"], **{**settings["encoder_settings"], **given})
        if not isinstance(encoder, cls):
            raise ValueError(
                f"{source} describes a {type(encoder).__name__}, not a {cls.__name__}; use "
                f"{type(encoder).__name__}.from_pretrained, or Encoder.from_pretrained for any"
            )
        return encoder


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
    """Each voxel of a map standardised over its channels, without gain or bias (eps 1e-5)."""
    last = features.movedim(1, -1)
    return F.layer_norm(last, last.shape[-1:]).movedim(-1, 1)
