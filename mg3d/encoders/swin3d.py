"""3D Swin Transformer encoder, sizes B (embedding 48) and L (embedding 96).

MONAI's transformer, with the patch merging the released weights were trained with: of the eight
sub-lattices of a 2 x 2 x 2 neighbourhood it takes two twice and two never. MONAI 1.6 repaired it
under the same parameter names, so that released weights load without a word and give other
features; `merging="monai"` chooses the repaired one for training from scratch.

Source: MG-3D (arXiv 2412.05876), implementation details; released code for the merging; Swin UNETR
(arXiv 2201.01266).
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mg3d.encoders.maps import Encoder, check_fits

# Offsets of the sub-lattices in the order of concatenation, as released (old MONAI 0.9).
_RELEASED_OFFSETS = (
    (0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 0, 1), (0, 1, 0), (0, 0, 1), (1, 1, 1),
)  # fmt: skip


class ReleasedPatchMerging(nn.Module):
    """Halve every axis: eight sub-lattices side by side, normalised, reduced to twice the channels.

    Args:
        dim: channels that come; twice as many go.
        norm_layer: built for 8 * dim channels.
        spatial_dims: 3; the name under which MONAI gives it.
    """

    def __init__(
        self, dim: int, norm_layer: type[nn.LayerNorm] = nn.LayerNorm, spatial_dims: int = 3
    ):
        super().__init__()
        if spatial_dims != 3:
            raise ValueError(f"patch merging is written for 3 spatial axes, got {spatial_dims}")
        self.reduction = nn.Linear(8 * dim, 2 * dim, bias=False)
        self.norm = norm_layer(8 * dim)

    def forward(self, features: Float[Tensor, "B H W D c"]) -> Float[Tensor, "B h w e k"]:
        """The merged map, channels last."""
        parts = [features[:, i::2, j::2, k::2] for i, j, k in _RELEASED_OFFSETS]
        return self.reduction(self.norm(torch.cat(parts, dim=-1)))


MERGINGS = {"released": ReleasedPatchMerging, "monai": "merging"}


class Swin3DEncoder(Encoder):
    """Five maps, fine to coarse: strides 2 to 32 and channels 48 to 768 with the defaults.

    Args:
        embed_dim: channels of the finest map; 48 is Swin-B, 96 is Swin-L.
        depths: transformer blocks in each of the four stages.
        num_heads: of each stage; must divide its channels.
        window: edge of the attention window, tokens.
        patch: edge of a patch, voxels; the finest map's stride.
        merging: "released" or "monai", see above.
        checkpointing: recompute activations in the backward pass instead of keeping them.
        input_channels: of the volume.

    Raises:
        ValueError: if there are not four stages, no such merging, or heads do not divide channels.
    """

    def __init__(
        self,
        embed_dim: int = 48,
        depths: Sequence[int] = (2, 2, 2, 2),
        num_heads: Sequence[int] = (3, 6, 12, 24),
        *,
        window: int = 7,
        patch: int = 2,
        merging: str = "released",
        checkpointing: bool = False,
        input_channels: int = 1,
    ):
        super().__init__()
        if len(depths) != 4 or len(num_heads) != 4:
            raise ValueError(
                "the Swin encoder has four stages, so depths and num_heads are four numbers each; "
                f"got {tuple(depths)} and {tuple(num_heads)}"
            )
        if merging not in MERGINGS:
            raise ValueError(f"merging is one of {', '.join(MERGINGS)}; got '{merging}'")
        widths = [embed_dim * 2**stage for stage in range(4)]
        if any(width % heads for width, heads in zip(widths, num_heads, strict=True)):
            raise ValueError(
                f"num_heads {tuple(num_heads)} must divide the stages' channels {tuple(widths)}; "
                "change num_heads, or take an embed_dim that is a multiple of num_heads[0]"
            )
        from monai.networks.nets.swin_unetr import SwinTransformer  # seconds to import

        self.width = embed_dim * 16
        self.stride = patch * 16
        self.channels = tuple(embed_dim * 2**stage for stage in range(5))
        self.transformer = SwinTransformer(
            in_chans=input_channels,
            embed_dim=embed_dim,
            window_size=(window,) * 3,
            patch_size=(patch,) * 3,
            depths=tuple(depths),
            num_heads=tuple(num_heads),
            downsample=MERGINGS[merging],
            use_checkpoint=checkpointing,
        )

    def forward(self, volume: Float[Tensor, "B c H W D"]) -> tuple[Tensor, ...]:
        """Maps of each stage, each place normalised over its channels without gain or bias.

        Raises:
            ValueError: if the volume is not divisible by the stride.
        """
        check_fits(volume.shape[2:], self.stride)
        return tuple(self.transformer(volume))
