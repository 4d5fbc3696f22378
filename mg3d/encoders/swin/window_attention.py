"""Softmax attention inside windows, with a learned bias for each relative position.

Source: Swin Transformer (arXiv 2103.14030), equation 4. Follows the released code where it could be
done otherwise: a window that was made smaller to fit a small map reads the first n x n entries of
the position index of the full window.
"""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from mg3d.encoders.swin.window_layout import relative_position_index


class WindowAttention(nn.Module):
    """softmax(query key^T / sqrt(k) + bias) value for the tokens of each window.

    `softmax` is a module, so that a forward hook on it reads the attention maps.

    Args:
        dim: channels.
        num_heads: attention heads; divides `dim`.
        window: edges of a full window, tokens.
    """

    relative_position_index: Int[Tensor, "n n"]

    def __init__(self, dim: int, num_heads: int, window: Sequence[int]):
        super().__init__()
        self.num_heads = num_heads
        offsets = math.prod(2 * edge - 1 for edge in window)
        self.relative_position_bias_table = nn.Parameter(torch.empty(offsets, num_heads))
        nn.init.trunc_normal_(self.relative_position_bias_table, std=0.02)
        self.register_buffer("relative_position_index", relative_position_index(window))
        self.qkv = nn.Linear(dim, 3 * dim)
        self.softmax = nn.Softmax(dim=-1)
        self.proj = nn.Linear(dim, dim)

    def forward(
        self, windows: Float[Tensor, "w n c"], mask: Float[Tensor, "W n n"] | None = None
    ) -> Float[Tensor, "w n c"]:
        """What each token takes from the tokens of its window.

        Args:
            windows: normalised tokens; W windows of the first patient, then of the next.
            mask: added to the scores of every patient; see `shift_mask`.
        """
        w, n, c = windows.shape
        vectors = self.qkv(windows).view(w, n, 3, self.num_heads, c // self.num_heads)
        query, key, value = vectors.permute(2, 0, 3, 1, 4)  # (w, heads, n, k) each
        scores = (query * query.shape[-1] ** -0.5) @ key.mT + self.position_bias(n)
        if mask is not None:
            by_patient = scores.unflatten(0, (-1, len(mask)))  # (B, W, heads, n, n)
            scores = (by_patient + mask[:, None]).flatten(0, 1)
        weights = self.softmax(scores).to(value.dtype)
        attended = weights @ value  # (w, heads, n, k)
        return self.proj(attended.transpose(1, 2).reshape(w, n, c))

    def position_bias(self, n: int) -> Float[Tensor, "heads n n"]:
        """What the scores of a window of n tokens get for the relative positions."""
        index = self.relative_position_index[:n, :n].reshape(-1)
        # Indexing with [] differentiates several times faster than index_select.
        return self.relative_position_bias_table[index].T.reshape(self.num_heads, n, n)
