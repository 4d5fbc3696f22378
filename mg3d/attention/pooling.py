"""Pooling: the tokens of a volume or report to one vector, or the words of each sentence to one.

Padding is left out of every mean.

Source: MG-3D (arXiv 2412.05876), global alignment (Fig. 5); formulas as in the released code, see
Q14 to Q16 in `docs/quirks.md`.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn


class TokenWeightingPooler(nn.Module):
    """tanh(linear(sum over i of w_i * token_i + c)), with one learned weight per token position.

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
        """One vector per volume, each entry between -1 and 1.

        Raises:
            ValueError: if the number of tokens is not `num_tokens`.
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
    """Self-attention pooling whose query is the mean sentence.

    The mean of the real sentences is prepended as a token, multi-head softmax self-attention runs
    over all tokens, and the output at the mean is the report's vector. The order of the sentences
    does not matter.

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
        """One vector per report. A report without any sentence gives a constant vector."""
        if padding is None:
            padding = torch.zeros(tokens.shape[:2], dtype=torch.bool, device=tokens.device)
        mean = masked_mean(tokens, padding)
        return self.read_first(
            torch.cat([mean[:, None], tokens], dim=1), F.pad(padding, (1, 0), value=False)
        )

    def read_first(
        self, tokens: Float[Tensor, "B m d"], padding: Bool[Tensor, "B m"]
    ) -> Float[Tensor, "B d"]:
        """Output of self-attention at the first token; the other outputs are not computed."""
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
