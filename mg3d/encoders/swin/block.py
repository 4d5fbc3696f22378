"""One transformer block: attention in windows, then an MLP; each adds to its input.

Source: Swin Transformer (arXiv 2103.14030), equation 3. Follows the released code where it could be
done otherwise: padding is zero behind the first normalisation, and padding tokens act as keys.
"""

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn

from mg3d.encoders.swin.mlp import MLP
from mg3d.encoders.swin.recompute.attention import attend_in_windows
from mg3d.encoders.swin.recompute.check import refuse_what_would_be_skipped
from mg3d.encoders.swin.recompute.mlp import add_mlp
from mg3d.encoders.swin.window_attention import WindowAttention
from mg3d.encoders.swin.window_layout import WindowLayout, window_layout


class Block(nn.Module):
    """Attention in windows, then an MLP, each behind a normalisation and with a skip connection.

    Args:
        dim: channels.
        num_heads: attention heads.
        window: edges of a window, tokens.
        shifted: whether the windows stand half a window further.
        window_recompute: see `Swin3DEncoder`.
    """

    def __init__(
        self,
        dim: int,
        num_heads: int,
        window: Sequence[int],
        *,
        shifted: bool,
        window_recompute: bool = False,
    ):
        super().__init__()
        self.window = tuple(window)
        self.shifted = shifted
        self.window_recompute = window_recompute
        self.norm1 = nn.LayerNorm(dim)
        self.attn = WindowAttention(dim, num_heads, window)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = MLP(dim)

    def forward(self, tokens: Float[Tensor, "B H W D c"]) -> Float[Tensor, "B H W D c"]:
        """The map after attention and MLP.

        Raises:
            ValueError: if `window_recompute` would skip a hook or an adapter.
        """
        if self.window_recompute:
            return self._recomputed(tokens)
        layout = self.layout(tokens)
        windows = layout.cut(self.norm1(tokens))
        tokens = tokens + layout.join(self.attn(windows, layout.mask(tokens.dtype)))
        return tokens + self.mlp(self.norm2(tokens))

    def _recomputed(self, tokens: Float[Tensor, "B H W D c"]) -> Float[Tensor, "B H W D c"]:
        """The same numbers in less memory, from the layers' weights without calling the layers."""
        refuse_what_would_be_skipped(self)
        attended = attend_in_windows(
            tokens, self.norm1, self.attn.qkv, self.attn.position_bias, self.layout(tokens)
        )
        tokens = tokens + self.attn.proj(attended)
        return add_mlp(tokens, self.norm2, self.mlp.linear1, self.mlp.linear2)

    def layout(self, tokens: Float[Tensor, "B H W D c"]) -> WindowLayout:
        """How this map is cut into windows."""
        grid = (tokens.shape[1], tokens.shape[2], tokens.shape[3])
        return window_layout(grid, self.window, self.shifted, tokens.device)
