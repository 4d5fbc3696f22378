"""Masked image modelling (MIM): fill in hidden blocks of the volume, having read the report.

Half of the blocks are zeroed, the rest is encoded and fused with the report's sentences (all in the
model: `Features.filled_visual_tokens`). Here a convolutional decoder doubles the grid of tokens
until it is the volume's again; only hidden voxels count.

Source: MG-3D (arXiv 2412.05876), Fig. 3a; decoder as in the released code (3^3 convolution,
instance norm, leaky ReLU, trilinear doubling; widths d/2, d/4, d/8, d/16, d/16; a 1^3 convolution
to one channel). The loss is the paper's mean over hidden voxels. The released one averages over all
voxels and divides by the share *kept*: it is ours times (1 - kept) / kept, equal at one half.
Trivial optimum: the mean volume of the training patients (`mean_volume_loss`), or smoother guesses
from what is left; neither needs the report.
"""

import math
from itertools import pairwise

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from mg3d.data.batch import Batch
from mg3d.distributed import global_mean
from mg3d.model import Features
from mg3d.objectives.precision import at_least_float32


class MIM(nn.Module):
    """The decoder from visual tokens to voxels, and its loss.

    Args:
        dim: fusion width d.
        token_stride: voxels of the volume per token, along each axis.
        output_stride: 1 fills in the volume itself; 2 the volume averaged over 2^3 voxels, which
            leaves out the decoder's most expensive stage; and so on.
        mean_shape: shape of the volume, if the decoder shall guess how it differs from a mean
            volume (`start_from`) instead of the volume itself. Not in the paper: for runs too
            short to learn the mean by gradient.
        checkpointing: run the decoder again in the backward pass instead of keeping its maps.

    Raises:
        ValueError: if token_stride is not output_stride times a power of 2, at least 2.
    """

    mean: Tensor | None

    def __init__(
        self,
        dim: int,
        token_stride: int = 32,
        output_stride: int = 1,
        *,
        mean_shape: tuple[int, int, int] | None = None,
        checkpointing: bool = False,
    ):
        super().__init__()
        doublings = math.log2(token_stride / output_stride)
        if doublings < 1 or doublings != int(doublings):
            raise ValueError(
                f"the decoder doubles the token grid, so token_stride ({token_stride}) must be 2, "
                f"4, 8, ... times output_stride ({output_stride}); choose another output_stride"
            )
        self.token_stride, self.output_stride = token_stride, output_stride
        self.checkpointing = checkpointing
        widths = [dim] + [max(1, dim // 2 ** min(i, 4)) for i in range(1, int(doublings) + 1)]
        self.convolutions = nn.ModuleList(
            nn.Conv3d(coarse, fine, kernel_size=3, padding=1) for coarse, fine in pairwise(widths)
        )
        self.output = nn.Conv3d(widths[-1], 1, kernel_size=1)
        coarse = [size // output_stride for size in mean_shape or ()]
        self.register_buffer("mean", torch.zeros(1, 1, *coarse) if mean_shape else None)

    def start_from(self, mean_volume: Float[Tensor, "1 H W D"]) -> None:
        """Guess differences from this volume from now on.

        Args:
            mean_volume: of the training patients, 0 to 1 over the HU window.
        """
        assert self.mean is not None  # built with mean_shape
        self.mean.copy_(F.avg_pool3d(mean_volume[None], self.output_stride))

    def decode(self, tokens: Float[Tensor, "B d h w e"]) -> Float[Tensor, "B 1 H W D"]:
        """Voxels at output_stride from a grid of tokens.

        Raises:
            ValueError: if the grid is a single token, of which instance norm leaves nothing.
        """
        if tokens[0, 0].numel() == 1:
            raise ValueError(
                "MIM needs a grid of at least 2 visual tokens, but this volume has one; use a "
                "larger volume or an encoder of smaller stride"
            )
        if self.checkpointing and torch.is_grad_enabled():
            # Nothing random in it, so no random state to keep.
            return checkpoint(self._decode, tokens, use_reentrant=False, preserve_rng_state=False)
        return self._decode(tokens)

    def _decode(self, tokens: Float[Tensor, "B d h w e"]) -> Float[Tensor, "B 1 H W D"]:
        *first, last = self.convolutions
        for convolution in first:
            tokens = _double(_activate(convolution(tokens)))
        # A weighted sum of channels and one of neighbours may change places: doubling one channel
        # instead of d/16 gives the same voxels from a fraction of the memory.
        return _double(self.output(_activate(last(tokens))))

    def compile_decoder(self) -> None:
        """Let torch.compile make the decoder faster, from its next call on."""
        self._decode = torch.compile(self._decode)  # type: ignore[method-assign]

    def reconstruct(self, features: Features) -> Float[Tensor, "B 1 H W D"]:
        """Every voxel as the model believes it to be, hidden or not, at output_stride.

        Raises:
            ValueError: if nothing was hidden.
        """
        if features.filled_visual_tokens is None:
            raise ValueError(
                "MIM needs hidden voxels, but this batch is whole; call batch.hide(..., voxels="
                "True) before the model, or give MIM weight 0"
            )
        voxels = self.decode(features.filled_visual_tokens.mT.unflatten(-1, features.token_grid))
        return voxels if self.mean is None else voxels + self.mean

    def forward(self, features: Features, batch: Batch) -> Float[Tensor, ""]:
        """Mean squared error over the hidden voxels of the global batch."""
        voxels = self.reconstruct(features)
        assert batch.voxel_mask is not None  # or nothing was filled in
        target, hidden = coarsen(batch.volume, batch.voxel_mask, self.output_stride)
        return global_mean(*hidden_error(voxels, target, hidden))


def hidden_error(
    voxels: Float[Tensor, "B 1 H W D"],
    target: Float[Tensor, "B 1 H W D"],
    hidden: Float[Tensor, "B 1 H W D"],
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """Sum of squared errors over hidden voxels, and how many these are.

    Args:
        voxels: the guess.
        target: the truth, 0 to 1 over the HU window.
        hidden: 1 where a voxel is hidden, 0 where it was seen, between where it is partly both.
    """
    error = (at_least_float32(voxels) - target).square()
    return (error * hidden).sum(), hidden.sum()


def coarsen(
    volume: Float[Tensor, "B 1 H W D"], voxel_mask: Bool[Tensor, "B 1 H W D"], output_stride: int
) -> tuple[Float[Tensor, "B 1 h w e"], Float[Tensor, "B 1 h w e"]]:
    """Volume and mask averaged over cubes of `output_stride` voxels, in float32 at least."""
    volume = at_least_float32(volume)
    hidden = voxel_mask.to(volume.dtype)
    if output_stride == 1:
        return volume, hidden
    return F.avg_pool3d(volume, output_stride), F.avg_pool3d(hidden, output_stride)


def mean_volume_loss(
    mean_volume: Float[Tensor, "1 H W D"],
    volume: Float[Tensor, "B 1 H W D"],
    voxel_mask: Bool[Tensor, "B 1 H W D"],
    output_stride: int = 1,
) -> Float[Tensor, ""]:
    """Trivial baseline: fill hidden voxels with the mean volume of the training patients.

    Args:
        mean_volume: mean over training patients, 0 to 1 over the HU window.
        volume: held-out patients.
        voxel_mask: what is hidden of them.
        output_stride: as in the `MIM` it is compared with.
    """
    target, hidden = coarsen(volume, voxel_mask, output_stride)
    guess, _ = coarsen(mean_volume.expand_as(volume), voxel_mask, output_stride)
    total, count = hidden_error(guess, target, hidden)
    return total / count


def _activate(maps: Tensor) -> Tensor:
    """Instance norm without affine (as group norm, the faster of the two), leaky ReLU.

    In place: the norm's backward pass reads what came in, the ReLU's the sign of what goes out.
    """
    return F.leaky_relu_(F.group_norm(maps, maps.shape[1], eps=1e-5), 0.01)


def _double(maps: Tensor) -> Tensor:
    return F.interpolate(maps, scale_factor=2, mode="trilinear", align_corners=False)
