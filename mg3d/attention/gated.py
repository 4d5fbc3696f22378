"""Gated cross-attention: each token keeps its own value, scaled by gates from the other modality.

Classical cross-attention writes the other side's values into the output, so that a masked volume
can be filled from the text alone. Here the other side only scales each token's own value by a
number between 0 and 1, the mean of that token's gates:

    G_ij  = sigmoid(<query(own_i), key(other_j)> / sqrt(d))
    out_i = (mean over j of G_ij) * value(own_i)

Source: MG-3D (arXiv 2412.05876) Fig. 4, in closed form: no n x m x d tensor is needed. The mean
runs over real tokens; the released code differs, see Q10 in `docs/quirks.md`.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn


class GateMap(nn.Module):
    """One gate between 0 and 1 for each pair of an own and an other token.

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
        """The gates; those of padded other tokens are 0."""
        query = self.query(own) / own.shape[-1] ** 0.5  # before the product: fp16 cannot overflow
        gates = (query @ self.key(other).mT).sigmoid()
        if other_padding is not None:
            gates = gates.masked_fill(other_padding[:, None, :], 0.0)
        return gates


class GatedCrossAttention(nn.Module):
    """out_i = (mean over real j of gate_ij) * value(own_i): no residual, no normalisation.

    Where the other side has no real token, all gates are 0, and so is the output.

    Args:
        dim: width of the tokens of both sides.
    """

    def __init__(self, dim: int):
        super().__init__()
        self.gates = GateMap(dim)
        self.value = nn.Linear(dim, dim)

    def forward(
        self,
        own: Float[Tensor, "B n d"],
        other: Float[Tensor, "B m d"],
        other_padding: Bool[Tensor, "B m"] | None = None,
    ) -> Float[Tensor, "B n d"]:
        """Values of the own tokens, each scaled by its mean gate."""
        scale = mean_gate(self.gates(own, other, other_padding), other_padding)
        return scale[..., None] * self.value(own)


def mean_gate(
    gates: Float[Tensor, "B n m"], other_padding: Bool[Tensor, "B m"] | None = None
) -> Float[Tensor, "B n"]:
    """Mean of each own token's gates over the real other tokens.

    Args:
        gates: 0 to 1, and 0 at padded tokens.
        other_padding: True where an other token is padding; None: all are real.
    """
    # Padded tokens have gate 0, so they add nothing to the sum; only the count must leave them out.
    total = gates.sum(dim=-1, dtype=torch.promote_types(gates.dtype, torch.float32))
    if other_padding is None:
        mean = total / gates.shape[-1]
    else:
        mean = total / (~other_padding).sum(dim=-1, keepdim=True).clamp(min=1)
    return mean.to(gates.dtype)
