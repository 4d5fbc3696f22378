"""Masked image modelling (MIM): reconstruct hidden blocks of the volume with the report's help.

The model zeroes hidden blocks, encodes the volume and fuses it with the report's sentences
(`Features.filled_visual_tokens`). A convolutional decoder doubles the token grid (3^3 convolution,
instance norm, leaky ReLU, trilinear upsampling; widths d/2, d/4, d/8, d/16, d/16) until it has the
volume's size, and a 1^3 convolution gives one channel. The loss is the squared error over hidden
voxels.

Source: MG-3D (arXiv 2412.05876), Fig. 3a; the released code differs in details, see Q2 and Q25 to
Q27 in `docs/quirks.md`.
Trivial optimum: the mean volume of the training patients (`mean_volume_loss`), or interpolation
between visible blocks; neither uses the report.
"""

import math
from itertools import pairwise

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from mg3d.config import PretrainConfig
from mg3d.data.batch import Batch
from mg3d.distributed import global_mean
from mg3d.encoders.parts import in_parts
from mg3d.model import MG3D, Features
from mg3d.objectives.objective import Baseline, Objective, TrainingPatients
from mg3d.objectives.precision import at_least_float32


class MIM(Objective):
    """The decoder from visual tokens to voxels, and its loss.

    Args:
        dim: fusion width d.
        token_stride: voxels of the volume per token, along each axis.
        output_stride: 1 reconstructs the volume itself; 2 the volume averaged over 2^3 voxels,
            which leaves out the decoder's most expensive stage; and so on.
        mean_shape: shape of the volume, if the decoder is to predict the difference from a mean
            volume (see `start`) instead of the volume itself. Not in the paper: for runs too
            short to learn the mean by gradient.
        checkpointing: recompute the decoder in the backward pass instead of keeping its maps.
        activation_batch: patients in the decoder at a time; 0: all, see `mg3d.encoders.parts`.

    Raises:
        ValueError: if token_stride is not output_stride times a power of 2, at least 2.
    """

    label = "MIM · hidden voxels"
    trivial_model = "the mean training volume"
    reads = frozenset({"filled_visual_tokens"})
    hides = frozenset({"voxels"})
    mean: Tensor | None

    def __init__(
        self,
        dim: int,
        token_stride: int = 32,
        output_stride: int = 1,
        *,
        mean_shape: tuple[int, int, int] | None = None,
        checkpointing: bool = False,
        activation_batch: int = 0,
    ):
        super().__init__()
        doublings = math.log2(token_stride / output_stride)
        if doublings < 1 or doublings != int(doublings):
            raise ValueError(
                f"the decoder doubles the token grid, so token_stride ({token_stride}) must be 2, "
                f"4, 8, ... times output_stride ({output_stride}); choose another output_stride"
            )
        self.token_stride, self.output_stride = token_stride, output_stride
        self.checkpointing, self.activation_batch = checkpointing, activation_batch
        widths = [dim] + [max(1, dim // 2 ** min(i, 4)) for i in range(1, int(doublings) + 1)]
        self.convolutions = nn.ModuleList(
            nn.Conv3d(coarse, fine, kernel_size=3, padding=1) for coarse, fine in pairwise(widths)
        )
        self.output = nn.Conv3d(widths[-1], 1, kernel_size=1)
        coarse = [size // output_stride for size in mean_shape or ()]
        self.register_buffer("mean", torch.zeros(1, 1, *coarse) if mean_shape else None)

    @classmethod
    def from_config(cls, config: PretrainConfig, model: MG3D) -> "MIM":
        """Build it with the settings of a run."""
        shape, settings = config.grid.volume_shape, config.objectives
        return cls(
            config.network.dim,
            token_stride=shape[0] // model.token_grid[0],
            output_stride=settings.mim_output_stride,
            mean_shape=shape if settings.mim_from_mean else None,
            checkpointing=config.compute.activation_checkpointing,
            activation_batch=config.compute.activation_batch,
        )

    def start(self, train: TrainingPatients) -> None:
        """Predict differences from the mean training volume, if built with `mean_shape`."""
        if self.mean is not None:
            self.mean.copy_(F.avg_pool3d(train.mean_volume[None], self.output_stride))

    def decode(self, tokens: Float[Tensor, "B d h w e"]) -> Float[Tensor, "B 1 H W D"]:
        """Voxels at output_stride from a grid of tokens.

        Raises:
            ValueError: if the grid is a single token, which instance norm would set to 0.
        """
        if tokens[0, 0].numel() == 1:
            raise ValueError(
                "MIM needs a grid of at least 2 visual tokens, but this volume has one; use a "
                "larger volume or an encoder of smaller stride"
            )
        return in_parts(self._decode, tokens, self.activation_batch, recompute=self.checkpointing)

    def _decode(self, tokens: Float[Tensor, "B d h w e"]) -> Float[Tensor, "B 1 H W D"]:
        *first, last = self.convolutions
        for convolution in first:
            tokens = _double(_activate(convolution(tokens)))
        # The 1^3 convolution (a sum over channels) and upsampling (a sum over neighbours) commute:
        # upsampling one channel instead of d/16 gives the same voxels from less memory.
        return _double(self.output(_activate(last(tokens))))

    def compile_parts(self) -> None:
        """Let torch.compile speed up the decoder, from its next call on."""
        self._decode = torch.compile(self._decode)  # type: ignore[method-assign]

    def reconstruct(self, features: Features) -> Float[Tensor, "B 1 H W D"]:
        """The decoder's volume at output_stride, at hidden and at visible voxels.

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
        assert batch.voxel_mask is not None  # `reconstruct` refuses a batch without it
        target, hidden = coarsen(batch.volume, batch.voxel_mask, self.output_stride)
        return global_mean(*hidden_error(voxels, target, hidden))

    def baseline(self, features: Features, batch: Batch, train: TrainingPatients) -> Baseline:
        """`mean_volume_loss` at the resolution of this objective."""
        assert batch.voxel_mask is not None
        mean_volume = train.mean_volume.to(batch.volume.device)
        return Baseline(
            float(mean_volume_loss(mean_volume, batch.volume, batch.voxel_mask, self.output_stride))
        )


def hidden_error(
    voxels: Float[Tensor, "B 1 H W D"],
    target: Float[Tensor, "B 1 H W D"],
    hidden: Float[Tensor, "B 1 H W D"],
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """Sum of squared errors over hidden voxels, and the number of hidden voxels.

    Args:
        voxels: the prediction.
        target: the volume, 0 to 1 over the HU window.
        hidden: 1 where a voxel is hidden, 0 where it is visible, in between for coarse voxels of
            which a part is hidden.
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
    """Trivial baseline: predict the mean volume of the training patients everywhere.

    Args:
        mean_volume: mean over training patients, 0 to 1 over the HU window.
        volume: held-out patients.
        voxel_mask: True where a voxel is hidden.
        output_stride: as in the `MIM` it is compared with.
    """
    target, hidden = coarsen(volume, voxel_mask, output_stride)
    guess, _ = coarsen(mean_volume.expand_as(volume), voxel_mask, output_stride)
    total, count = hidden_error(guess, target, hidden)
    return total / count


def _activate(maps: Tensor) -> Tensor:
    """Instance norm without affine (as group norm, which is faster), leaky ReLU.

    The ReLU may work in place: its own backward pass needs the sign of its output only, the norm's
    needs the norm's input.
    """
    return F.leaky_relu_(F.group_norm(maps, maps.shape[1], eps=1e-5), 0.01)


def _double(maps: Tensor) -> Tensor:
    return F.interpolate(maps, scale_factor=2, mode="trilinear", align_corners=False)
