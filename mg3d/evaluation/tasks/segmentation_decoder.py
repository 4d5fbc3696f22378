"""From an encoder's maps to logits at full resolution, by MONAI's blocks.

A Swin gets the decoder of SwinUNETR. Any other encoder gets the same kind of decoder over as many
maps as it has: per map one up-block (transposed convolution, the finer map beside it, residual
block), at the end a block on the volume itself.

Source: Swin UNETR (arXiv 2201.01266) and UNETR (arXiv 2103.10504), MONAI's blocks.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mg3d.encoders import Encoder
from mg3d.encoders.swin.swin3d import Swin3DEncoder
from mg3d.modes import evaluating
from mg3d.pretrained.unetr import to_swin_unetr


def build_decoder(
    encoder: Encoder,
    outputs: int,
    window: Sequence[int],
    skip_blocks: Mapping[str, Tensor] | None = None,
) -> nn.Module:
    """A module (maps, batch) -> logits (B, outputs, H, W, D), with fresh weights.

    Args:
        encoder: before adapters are put into it; it is not changed.
        outputs: channels of the logits, background included.
        window: voxels that the network sees at a time.
        skip_blocks: of a released SwinUNETR, by MONAI's names.

    Raises:
        ValueError: if the window does not fit the encoder, or a skip block the decoder.
    """
    stride = encoder.stride
    if any(size % stride for size in window) or all(size == stride for size in window):
        raise ValueError(
            f"window is three multiples of the encoder's stride {stride}, not all of them {stride} "
            f"(one token cannot be normalised), got {tuple(window)}; choose a larger window"
        )
    if isinstance(encoder, Swin3DEncoder):
        return SwinUNETRDecoder(encoder, outputs, skip_blocks)
    with evaluating(encoder), torch.no_grad():
        maps = encoder(torch.zeros(1, 1, *window))
    return UNetDecoder([(one.shape[1], tuple(one.shape[2:])) for one in maps], window, outputs)


class SwinUNETRDecoder(nn.Module):
    """MONAI's SwinUNETR around maps that are given.

    Args:
        encoder: whose maps will come.
        outputs: channels of the logits.
        skip_blocks: weights of `encoder1` to `encoder10`; those not given start fresh.
    """

    def __init__(
        self, encoder: Encoder, outputs: int, skip_blocks: Mapping[str, Tensor] | None = None
    ):
        super().__init__()
        self.unetr: Any = to_swin_unetr(encoder, outputs, skip_blocks=skip_blocks)
        self.unetr.swinViT = _Given()

    def forward(self, maps: Sequence[Tensor], batch: Any) -> Float[Tensor, "B k H W D"]:
        """Logits of every voxel."""
        self.unetr.swinViT.maps = maps
        try:
            logits: Tensor = self.unetr(batch.volume)
        finally:
            self.unetr.swinViT.maps = ()
        return logits


class _Given(nn.Module):
    """Stands where SwinUNETR has its transformer and returns the encoder's maps."""

    maps: Sequence[Tensor] = ()

    def forward(self, volume: Tensor, normalize: bool = True) -> Sequence[Tensor]:
        return self.maps


class UNetDecoder(nn.Module):
    """Up-blocks over maps of any number and stride.

    Args:
        maps: channels and size of each map, fine to coarse.
        window: size of the volume that gave them.
        outputs: channels of the logits.
    """

    def __init__(
        self, maps: Sequence[tuple[int, tuple[int, ...]]], window: Sequence[int], outputs: int
    ):
        from monai.networks.blocks import UnetOutBlock, UnetrBasicBlock, UnetrUpBlock

        super().__init__()
        options: dict[str, Any] = {"kernel_size": 3, "norm_name": "instance", "res_block": True}
        first = maps[0][0]
        self.skip = UnetrBasicBlock(3, 1, first, stride=1, **options)
        levels = [(first, tuple(window)), *maps]
        self.up = nn.ModuleList(
            UnetrUpBlock(3, coarse, fine, upsample_kernel_size=_ratio(small, large), **options)
            for (fine, large), (coarse, small) in pairwise(levels)
        )
        self.out = UnetOutBlock(3, first, outputs)

    def forward(self, maps: Sequence[Tensor], batch: Any) -> Float[Tensor, "B k H W D"]:
        """Logits of every voxel."""
        skips = [self.skip(batch.volume), *maps[:-1]]
        features = maps[-1]
        for up, skip in zip(reversed(self.up), reversed(skips), strict=True):
            features = up(features, skip)
        logits: Tensor = self.out(features)
        return logits


def _ratio(small: Sequence[int], large: Sequence[int]) -> tuple[int, ...]:
    return tuple(fine // coarse for fine, coarse in zip(large, small, strict=True))
