"""Pooled vectors of fused pairs, from the scalars that `mg3d.evaluation.pair_fusion` gives.

The poolers of `mg3d.attention.pooling`, written for tokens that are weighted sums of fixed vectors:
what is linear in the tokens is computed once per report or per volume, what is not (softmax over
sentences, tanh) on the scalars, or on one vector per pair.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from mg3d.attention.pooling import SentenceAttentionPool, TokenWeightingPooler
from mg3d.evaluation.pair_fusion import Coefficients, Terms


class VisualPool:
    """A `TokenWeightingPooler` over fused visual tokens.

    Args:
        pooler: of the model.
        terms: fused visual tokens of V volumes.
    """

    def __init__(self, pooler: TokenWeightingPooler, terms: Terms):
        mapped = terms.through(pooler.output, first=False)  # last shared term: the output's bias
        self.weights = pooler.weighting.weight[0]  # (N,)
        self.own = self.weights[:, None] * mapped.own  # (V, N, d)
        self.shared = mapped.shared[:-1]
        offset = pooler.weighting.bias * pooler.output.weight.sum(dim=1)
        self.constant = mapped.shared[-1] + offset

    def __call__(self, visual: Coefficients) -> Float[Tensor, "V R d"]:
        """One vector per pair, volumes first; coefficients are (R, 1, V, N)."""
        own, *shared = (c[:, 0].transpose(0, 1) for c in visual)
        # One product (R x N) with (N x d) for each volume.
        pooled = torch.baddbmm(self.constant, own, self.own)
        for coefficients, vector in zip(shared, self.shared, strict=True):
            pooled.addcmul_((coefficients @ self.weights)[..., None], vector)
        return pooled.tanh_()


class SentencePool:
    """A `SentenceAttentionPool` over fused sentences.

    The terms of one report are its K sentences, the shared ones, and 1 for biases: J = K + m + 1.

    Args:
        pooler: of the model.
        terms: fused sentences of R reports.
        padding: True where a sentence is padding.
        projection: applied after the pooler, to the fixed vectors instead of those of pairs.
    """

    def __init__(
        self,
        pooler: SentenceAttentionPool,
        terms: Terms,
        padding: Bool[Tensor, "R K"],
        projection: Float[Tensor, "o d"],
    ):
        self.padding, self.heads = padding, pooler.num_heads
        query, key, value = (
            self._split(terms.through(linear, first=False))
            for linear in (pooler.query, pooler.key, pooler.value)
        )  # (R, heads, J, d / heads)
        self.scores = query @ key.mT / query.shape[-1] ** 0.5  # (R, heads, J, J)
        output = pooler.output.weight.unflatten(1, (self.heads, -1)).permute(1, 2, 0)
        R, _, J, _ = value.shape
        by_head = value.transpose(0, 1).flatten(1, 2) @ output  # (heads, R * J, d)
        values = by_head.unflatten(1, (R, J)).transpose(0, 1).flatten(1, 2)  # (R, heads * J, d)
        values[:, J - 1] += pooler.output.bias  # at the first head's 1
        self.projected = values @ projection.mT
        self.totals = values.sum(dim=-1, keepdim=True)
        self.gram = values @ values.mT  # lengths of sums of these vectors, without the sums

    def __call__(
        self, sentence: Coefficients
    ) -> tuple[Float[Tensor, "R V o"], Float[Tensor, "R V"], Float[Tensor, "R V"]]:
        """Projected vectors; sum and sum of squares of the vectors. Coefficients: (R, K, V, 1)."""
        real = (~self.padding)[:, None, :]  # (R, 1, K)
        own, *shared = (c[..., 0].mT * real for c in sentence)  # (R, V, K), 0 at padding
        ones = torch.ones_like(own[..., :1])
        count = real.sum(dim=-1, keepdim=True).clamp(min=1)
        means = [c.sum(dim=-1, keepdim=True) / count for c in shared]
        mean = torch.cat([own / count, *means, ones], dim=-1)  # (R, V, J): the query token
        read = mean[:, None] @ self.scores  # (R, heads, V, J)
        K = own.shape[-1]
        at_sentences = read[..., :K] * own[:, None]
        for number, coefficients in enumerate(shared):
            at_sentences += read[..., K + number, None] * coefficients[:, None]
        at_sentences += read[..., -1:]
        at_mean = (read * mean[:, None]).sum(dim=-1, keepdim=True)
        hidden = F.pad(self.padding, (1, 0), value=False)[:, None, None, :]
        logits = torch.cat([at_mean, at_sentences], dim=-1).masked_fill(hidden, -torch.inf)
        weights = logits.softmax(dim=-1)  # (R, heads, V, 1 + K)
        first, rest = weights[..., :1], weights[..., 1:]
        parts = [first * mean[:, None, :, :K] + rest * own[:, None]]
        for number, coefficients in enumerate(shared):
            spread = (rest * coefficients[:, None]).sum(dim=-1, keepdim=True)
            parts.append(first * mean[:, None, :, K + number, None] + spread)
        parts.append(ones[:, None].expand(-1, self.heads, -1, -1))
        loads = torch.cat(parts, dim=-1).transpose(1, 2).flatten(2)  # (R, V, heads * J)
        squares = ((loads @ self.gram) * loads).sum(dim=-1)
        return loads @ self.projected, (loads @ self.totals)[..., 0], squares

    def _split(self, terms: Terms) -> Float[Tensor, "R heads J c"]:
        shared = terms.shared.expand(len(terms.own), -1, -1)
        tokens = torch.cat([terms.own, shared], dim=1)
        return tokens.unflatten(-1, (self.heads, -1)).transpose(1, 2)
