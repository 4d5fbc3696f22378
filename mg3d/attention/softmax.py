"""Classical cross-attention: add the other modality's values. For comparison with the gated one.

    P     = softmax over j of <query(own_i), key(other_j)> / sqrt(d)
    out_i = LayerNorm(own_i + sum over j of P_ij value(other_j))

One head, so that its map can be drawn like the gates; no output projection, which with one head
would only multiply the value projection.

Source: MG-3D (arXiv 2412.05876) Fig. 4, the classical half; Vaswani et al. (arXiv 1706.03762),
section 3.2.1 for the map, section 3.1 for residual and normalisation.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn


class SoftmaxMap(nn.Module):
    """Attention weights of each own token over the other tokens; rows sum to 1.

    A module of its own, so that a forward hook can read the map.

    Args:
        dim: width of the tokens of both sides.
    """

    def __init__(self, dim: int):
        super().__init__()
        self.query = nn.Linear(dim, dim)
        self.key = nn.Linear(dim, dim)

    def forward(
        self,
        own: Float[Tensor, "B n d"],
        other: Float[Tensor, "B m d"],
        other_padding: Bool[Tensor, "B m"] | None = None,
    ) -> Float[Tensor, "B n m"]:
        """The weights; padded other tokens get 0, and a row without any real token is all 0."""
        query = self.query(own) / own.shape[-1] ** 0.5
        scores = query @ self.key(other).mT
        if other_padding is None:
            return scores.softmax(dim=-1)
        padded = other_padding[:, None, :]
        lowest = torch.finfo(scores.dtype).min  # finite, because softmax of a row of -inf is NaN
        return scores.masked_fill(padded, lowest).softmax(dim=-1).masked_fill(padded, 0.0)


class SoftmaxCrossAttention(nn.Module):
    """Own tokens with the other side's values added, normalised.

    Args:
        dim: width of the tokens of both sides.
    """

    def __init__(self, dim: int):
        super().__init__()
        self.shares = SoftmaxMap(dim)
        self.value = nn.Linear(dim, dim)
        self.norm = nn.LayerNorm(dim)

    def forward(
        self,
        own: Float[Tensor, "B n d"],
        other: Float[Tensor, "B m d"],
        other_padding: Bool[Tensor, "B m"] | None = None,
    ) -> Float[Tensor, "B n d"]:
        """Own tokens plus the weighted sum of the other side's values, normalised."""
        read = self.shares(own, other, other_padding) @ self.value(other)
        return self.norm(own + read)
