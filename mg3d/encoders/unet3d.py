"""3D UNet encoder: strided convolutions, the default where minutes on a CPU must be enough.

Each stage halves the volume with its first block (convolution, normalisation, leaky ReLU) and may
go on with further blocks at that size. There is no block at full resolution: it would cost more
than all others together.

Source: MG-3D (arXiv 2412.05876) pre-trains a 3D UNet and an nnU-Net encoder besides the Swin; block
and normalisation as in nnU-Net (arXiv 1809.10486). Maps are normalised like the Swin's, so that
every encoder meets the fusion with features of one scale.
"""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from mg3d.encoders.maps import Encoder, check_fits, normalise_channels

# GroupNorm with one group per channel is instance normalisation, and the faster of the two.
NORMS: dict[str, Callable[[int], nn.Module]] = {
    "instance": lambda channels: nn.GroupNorm(channels, channels),
    "group": lambda channels: nn.GroupNorm(math.gcd(channels, 8), channels),
}


class Stage(nn.Module):
    """Halve every axis, then refine at that size.

    Args:
        channels_in: of the map that comes.
        channels: of the map that goes.
        num_blocks: at least 1; the first one halves.
        norm: a key of `NORMS`.
        residual: whether a refining block adds to its input instead of replacing it.
    """

    def __init__(
        self, channels_in: int, channels: int, num_blocks: int, *, norm: str, residual: bool
    ):
        super().__init__()
        self.residual = residual
        self.halve = _block(channels_in, channels, norm, stride=2)
        self.refine = nn.ModuleList(
            _block(channels, channels, norm, stride=1) for _ in range(num_blocks - 1)
        )

    def forward(self, features: Float[Tensor, "B c H W D"]) -> Float[Tensor, "B k h w e"]:
        """The next coarser map."""
        features = self.halve(features)
        for block in self.refine:
            features = features + block(features) if self.residual else block(features)
        return features


class UNet3DEncoder(Encoder):
    """One map per stage, fine to coarse; total stride 2^stages.

    Args:
        channels: of each stage's map.
        blocks_per_stage: convolutions per stage, the halving one included.
        norm: "instance" as in nnU-Net, or "group" (8 groups), which keeps how strong a channel is
            compared with its neighbours. The former forgets it, and needs a last map of more than
            one voxel.
        residual: whether the second and further blocks of a stage add to their input.
        checkpointing: recompute activations in the backward pass instead of keeping them.
        input_channels: of the volume.

    Raises:
        ValueError: if there is no stage, no block, or no such norm.
    """

    def __init__(
        self,
        channels: Sequence[int] = (16, 32, 64, 96),
        blocks_per_stage: int = 1,
        *,
        norm: str = "instance",
        residual: bool = True,
        checkpointing: bool = False,
        input_channels: int = 1,
    ):
        super().__init__()
        if not channels or blocks_per_stage < 1:
            raise ValueError(
                "a UNet encoder needs at least one stage and one block in each; got channels "
                f"{tuple(channels)} and blocks_per_stage {blocks_per_stage}"
            )
        if norm not in NORMS:
            raise ValueError(f"norm is one of {', '.join(NORMS)}; got '{norm}'")
        self.width = channels[-1]
        self.stride = 2 ** len(channels)
        self.channels = tuple(channels)
        self.norm = norm
        self.checkpointing = checkpointing
        widths = (input_channels, *channels)
        self.stages = nn.ModuleList(
            Stage(before, after, blocks_per_stage, norm=norm, residual=residual)
            for before, after in pairwise(widths)
        )

    def forward(self, volume: Float[Tensor, "B c H W D"]) -> tuple[Tensor, ...]:
        """Maps of each stage, each voxel normalised over its channels.

        Raises:
            ValueError: if the volume is not divisible by the stride, or shrinks to one voxel that
                instance normalisation would make 0.
        """
        shape = volume.shape[2:]
        check_fits(shape, self.stride)
        if self.norm == "instance" and math.prod(shape) == self.stride**3:
            raise ValueError(
                f"volume of shape {tuple(shape)} shrinks to a single voxel, where instance "
                f"normalisation leaves nothing; give a larger volume, fewer stages than "
                f"{len(self.stages)}, or norm='group'"
            )
        maps = []
        features = volume
        for stage in self.stages:
            if self.checkpointing and torch.is_grad_enabled():
                features = checkpoint(
                    stage, features, use_reentrant=False, preserve_rng_state=False
                )
            else:
                features = stage(features)
            maps.append(normalise_channels(features))
        return tuple(maps)


def _block(channels_in: int, channels: int, norm: str, *, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv3d(channels_in, channels, 3, stride=stride, padding=1, bias=False),
        NORMS[norm](channels),
        nn.LeakyReLU(0.01, inplace=True),
    )
