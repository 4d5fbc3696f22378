"""Halve every axis of a map: eight sub-lattices side by side, reduced to twice the channels.

The released weights were trained with a merging that takes two of the eight sub-lattices twice and
two never. MONAI 1.6 repaired it under the same parameter names, so that released weights load
without a word and give other features.

Source: released code (MONAI 0.9); MONAI 1.6 for the repaired one.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


class PatchMerging(nn.Module):
    """Sub-lattices of every 2 x 2 x 2 block, concatenated, normalised and reduced.

    A subclass says which ones. An odd axis gets a layer of zeros at its far end.

    Args:
        dim: channels that come; twice as many go.
        norm_layer: built for 8 * dim channels.
        spatial_dims: 3; this and `norm_layer` are what MONAI gives to a merging.
    """

    offsets: Sequence[tuple[int, int, int]]  # along the three axes, in the order of concatenation

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
        odd = [size % 2 for size in features.shape[1:4]]
        if any(odd):
            features = F.pad(features, (0, 0, 0, odd[2], 0, odd[1], 0, odd[0]))
        parts = [features[:, i::2, j::2, k::2] for i, j, k in self.offsets]
        return self.reduction(self.norm(torch.cat(parts, dim=-1)))


class ReleasedPatchMerging(PatchMerging):
    """As released: two sub-lattices twice, two never.

    The released code pads the wrong axes unless all three are odd or none is, and then fails; here
    that is refused.
    """

    offsets = (
        (0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 0, 1), (0, 1, 0), (0, 0, 1), (1, 1, 1),
    )  # fmt: skip

    def forward(self, features: Float[Tensor, "B H W D c"]) -> Float[Tensor, "B h w e k"]:
        """The merged map, channels last.

        Raises:
            ValueError: if some axes are odd and some even.
        """
        if len({size % 2 for size in features.shape[1:4]}) > 1:
            raise ValueError(
                "the released patch merging halves maps whose axes are all even or all odd, got "
                f"{tuple(features.shape[1:4])}; crop or pad the volume, or use merging='monai'"
            )
        return super().forward(features)


class RepairedPatchMerging(PatchMerging):
    """As repaired in MONAI 1.6: every sub-lattice once."""

    offsets = (
        (0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 0), (1, 0, 1), (0, 1, 1), (1, 1, 1),
    )  # fmt: skip


MERGINGS: dict[str, type[PatchMerging]] = {
    "released": ReleasedPatchMerging,
    "monai": RepairedPatchMerging,
}
