"""Pooling: many tokens to one vector (a volume, a report), or to one per sentence.

Source: MG-3D (arXiv 2412.05876), global alignment (Fig. 5); formulas as in the released code, here
over the whole batch at once with padding left out of every mean.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn


class TokenWeightingPooler(nn.Module):
    """tanh(linear(sum over tokens of w_i * token_i + c)): each place of the volume has its weight.

    Args:
        num_tokens: N, fixed by the volume's shape.
        dim: width of the tokens.
    """

    def __init__(self, num_tokens: int, dim: int):
        super().__init__()
        self.weighting = nn.Linear(num_tokens, 1)
        self.output = nn.Linear(dim, dim)
        for layer in (self.weighting, self.output):
            nn.init.normal_(layer.weight, std=0.02)
            nn.init.zeros_(layer.bias)

    def forward(self, tokens: Float[Tensor, "B N d"]) -> Float[Tensor, "B d"]:
        """One vector a volume, each entry between -1 and 1.

        Raises:
            ValueError: if the number of tokens is not the one this pooler has weights for.
        """
        expected, came = self.weighting.in_features, tokens.shape[1]
        if came != expected:
            raise ValueError(
                f"this pooler has one weight for each of {expected} visual tokens, got {came}; "
                "give volumes of the shape it was built for, or build it with num_tokens="
                f"{came}"
            )
        return self.output(self.weighting(tokens.mT).squeeze(-1)).tanh()


class SentenceAttentionPool(nn.Module):
    """What the average sentence finds when it looks at all sentences and itself.

    The mean of the real sentences is put in front, multi-head softmax self-attention runs over all
    of them, and the mean's own output is the report's vector. Order does not matter.

    Args:
        dim: width of the sentence tokens.
        num_heads: must divide `dim`.
    """

    def __init__(self, dim: int, num_heads: int = 8):
        super().__init__()
        if dim % num_heads:
            raise ValueError(
                f"dim {dim} must be divisible by num_heads {num_heads}; "
                f"the nearest that fits is {max(1, round(dim / num_heads)) * num_heads}"
            )
        self.num_heads = num_heads
        self.query = nn.Linear(dim, dim)
        self.key = nn.Linear(dim, dim)
        self.value = nn.Linear(dim, dim)
        self.output = nn.Linear(dim, dim)

    def forward(
        self, tokens: Float[Tensor, "B K d"], padding: Bool[Tensor, "B K"] | None = None
    ) -> Float[Tensor, "B d"]:
        """One vector a report. A report without any sentence gives a constant vector."""
        if padding is None:
            padding = torch.zeros(tokens.shape[:2], dtype=torch.bool, device=tokens.device)
        mean = masked_mean(tokens, padding)
        return self.read_first(
            torch.cat([mean[:, None], tokens], dim=1), F.pad(padding, (1, 0), value=False)
        )

    def read_first(
        self, tokens: Float[Tensor, "B m d"], padding: Bool[Tensor, "B m"]
    ) -> Float[Tensor, "B d"]:
        """Self-attention, but only the first token's output: the others are never needed."""
        query = self._split(self.query(tokens[:, :1]))  # (B, heads, 1, d / heads)
        key, value = self._split(self.key(tokens)), self._split(self.value(tokens))
        read = F.scaled_dot_product_attention(
            query, key, value, attn_mask=~padding[:, None, None, :]
        )
        return self.output(read.flatten(1))

    def _split(self, tokens: Float[Tensor, "B m d"]) -> Float[Tensor, "B heads m c"]:
        return tokens.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)


def masked_mean(
    tokens: Float[Tensor, "B K d"], padding: Bool[Tensor, "B K"]
) -> Float[Tensor, "B d"]:
    """Mean over the real tokens, in float32 at least; 0 where there is none."""
    real = ~padding
    precise = torch.promote_types(tokens.dtype, torch.float32)
    total = tokens.masked_fill(padding[..., None], 0.0).sum(dim=1, dtype=precise)
    return (total / real.sum(dim=1, keepdim=True).clamp(min=1)).to(tokens.dtype)


def mean_by_index(
    tokens: Float[Tensor, "B T d"], index: Int[Tensor, "B T"], num_groups: int
) -> tuple[Float[Tensor, "B K d"], Bool[Tensor, "B K"]]:
    """Mean of the tokens of each group (each sentence, say), by one matrix product.

    Args:
        tokens: word tokens of each report.
        index: group of each token, 0 to num_groups - 1; any other number belongs to none.
        num_groups: K.

    Returns the means, 0 for a group without tokens, and True where a group has none.
    """
    groups = torch.arange(num_groups, device=index.device)
    member = index[:, None, :] == groups[:, None]  # (B, K, T)
    size = member.sum(dim=-1)
    precise = torch.promote_types(tokens.dtype, torch.float32)
    with torch.autocast(tokens.device.type, enabled=False):
        total = member.to(precise) @ tokens.to(precise)
    means = total / size.clamp(min=1)[..., None]
    return means.to(tokens.dtype), size == 0
