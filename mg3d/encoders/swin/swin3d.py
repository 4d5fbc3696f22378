"""3D Swin Transformer encoder, sizes B (embedding 48) and L (embedding 96).

The network of MONAI's `SwinTransformer` under the same parameter names, so that released weights
load as they are. Every layer is a module that is called, so that forward hooks and adapters such as
LoRA work. The default patch merging is the one that the released weights were trained with; see
`patch_merging`.

Source: MG-3D (arXiv 2412.05876), implementation details; Swin UNETR (arXiv 2201.01266); released
code for the merging.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from mg3d.encoders.maps import Encoder, check_fits
from mg3d.encoders.swin.block import Block
from mg3d.encoders.swin.patch_merging import MERGINGS, ReleasedPatchMerging

__all__ = ["MERGINGS", "ReleasedPatchMerging", "Swin3DEncoder"]


class PatchEmbedding(nn.Module):
    """Cut the volume into cubes and describe each by one token.

    Args:
        patch: edge of a cube, voxels.
        input_channels: of the volume.
        dim: channels of a token.
    """

    def __init__(self, patch: int, input_channels: int, dim: int):
        super().__init__()
        self.proj = nn.Conv3d(input_channels, dim, kernel_size=patch, stride=patch)

    def forward(self, volume: Float[Tensor, "B c H W D"]) -> Float[Tensor, "B h w e k"]:
        """One token per cube, channels last."""
        return self.proj(volume).movedim(1, -1).contiguous()


class Stage(nn.Module):
    """Blocks at one size of map, every second one with shifted windows, then the merging.

    Args:
        dim: channels that come; twice as many go.
        depth: blocks.
        num_heads: attention heads.
        window: edges of a window, tokens.
        merging: a key of `MERGINGS`.
        checkpointing: keep only what comes into each block.
        window_recompute: see `Swin3DEncoder`.
    """

    def __init__(
        self,
        dim: int,
        depth: int,
        num_heads: int,
        window: Sequence[int],
        *,
        merging: str,
        checkpointing: bool,
        window_recompute: bool,
    ):
        super().__init__()
        self.checkpointing = checkpointing
        self.blocks = nn.ModuleList(
            Block(
                dim, num_heads, window,
                shifted=bool(number % 2), window_recompute=window_recompute,
            )
            for number in range(depth)
        )  # fmt: skip
        self.downsample = MERGINGS[merging](dim)

    def forward(self, tokens: Float[Tensor, "B H W D c"]) -> Float[Tensor, "B h w e k"]:
        """The next coarser map."""
        for block in self.blocks:
            if self.checkpointing and torch.is_grad_enabled():
                tokens = checkpoint(block, tokens, use_reentrant=False)
            else:
                tokens = block(tokens)
        return self.downsample(tokens)


class SwinTransformer(nn.Module):
    """Patch embedding and four stages, each `layers<stage>` with one entry, as in MONAI.

    Args:
        embed_dim: channels of the finest map.
        depths: blocks of each stage.
        num_heads: attention heads of each stage.
        window: edge of a window, tokens.
        patch: edge of a patch, voxels.
        merging: a key of `MERGINGS`.
        checkpointing: keep only what comes into each block.
        window_recompute: see `Swin3DEncoder`.
        input_channels: of the volume.
    """

    def __init__(
        self,
        embed_dim: int,
        depths: Sequence[int],
        num_heads: Sequence[int],
        *,
        window: int,
        patch: int,
        merging: str,
        checkpointing: bool,
        window_recompute: bool,
        input_channels: int,
    ):
        super().__init__()
        self.patch_embed = PatchEmbedding(patch, input_channels, embed_dim)
        stages = (
            nn.ModuleList(
                [
                    Stage(
                        embed_dim * 2**stage, depths[stage], num_heads[stage], (window,) * 3,
                        merging=merging, checkpointing=checkpointing,
                        window_recompute=window_recompute,
                    )
                ]
            )
            for stage in range(4)
        )  # fmt: skip
        self.layers1, self.layers2, self.layers3, self.layers4 = stages

    def forward(self, volume: Float[Tensor, "B c H W D"]) -> list[Tensor]:
        """Five maps, channels first, normalised over the channels without gain or offset."""
        tokens = self.patch_embed(volume)
        maps = [_normalised(tokens)]
        for stage in (self.layers1, self.layers2, self.layers3, self.layers4):
            tokens = stage[0](tokens)
            maps.append(_normalised(tokens))
        return maps


def _normalised(tokens: Float[Tensor, "B H W D c"]) -> Float[Tensor, "B c H W D"]:
    return F.layer_norm(tokens, tokens.shape[-1:]).movedim(-1, 1)


class Swin3DEncoder(Encoder):
    """Five maps, fine to coarse: strides 2 to 32 and channels 48 to 768 with the defaults.

    Args:
        embed_dim: channels of the finest map; 48 is Swin-B, 96 is Swin-L.
        depths: transformer blocks in each of the four stages.
        num_heads: of each stage; must divide its channels.
        window: edge of the attention window, tokens.
        patch: edge of a patch, voxels; the finest map's stride.
        merging: "released" for published weights, or "monai", the repaired one.
        checkpointing: remember only what comes into each block, for a third more time.
        window_recompute: compute attention and MLP a few windows at a time, and again in the
            backward pass, for a fraction of the memory and, on a CPU, in less time. The numbers
            are the same, but layers are not called as modules, so that hooks and adapters on
            them are refused.
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
        window_recompute: bool = False,
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
        self.width = embed_dim * 16
        self.stride = patch * 16
        self.channels = tuple(embed_dim * 2**stage for stage in range(5))
        self.transformer = SwinTransformer(
            embed_dim, depths, num_heads, window=window, patch=patch, merging=merging,
            checkpointing=checkpointing, window_recompute=window_recompute,
            input_channels=input_channels,
        )  # fmt: skip

    def forward(self, volume: Float[Tensor, "B c H W D"]) -> tuple[Tensor, ...]:
        """Maps of each stage, each token normalised over its channels without gain or bias.

        Raises:
            ValueError: if the volume is not divisible by the stride.
        """
        check_fits(volume.shape[2:], self.stride)
        return tuple(self.transformer(volume))

    @property
    def window_recompute(self) -> bool:
        """Whether blocks compute a few windows at a time; may be set at any time."""
        return any(block.window_recompute for block in self._blocks())

    @window_recompute.setter
    def window_recompute(self, value: bool) -> None:
        for block in self._blocks():
            block.window_recompute = value

    def compile(self, *args: Any, **settings: Any) -> None:
        """As of every module; blocks with `window_recompute` are left as they are."""
        for block in self._blocks():
            if block.window_recompute:  # its loop over hundreds of windows would be unrolled
                block.forward = torch.compiler.disable(block.forward)  # type: ignore[method-assign]
        super().compile(*args, **settings)

    def _blocks(self) -> list[Block]:
        return [part for part in self.modules() if isinstance(part, Block)]
