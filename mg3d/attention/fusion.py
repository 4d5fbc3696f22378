"""Fusion: a stack of cross-attention layers between volume and text, in both directions at once.

Each direction has its own query, key and value maps; the layers are stacked without residual. One
`Fusion` serves the volume with sentences (MIM, CML, DFA), another the volume with words (MLM, SFR).

Source: MG-3D (arXiv 2412.05876) Fig. 4; two layers as in the released code.
"""

from collections.abc import Callable

from jaxtyping import Bool, Float
from torch import Tensor, nn

from mg3d.attention.gated import GatedCrossAttention
from mg3d.attention.softmax import SoftmaxCrossAttention

# A name here is also in mg3d.config.settings.ATTENTIONS.
ATTENTIONS: dict[str, Callable[[int], nn.Module]] = {
    "gated": GatedCrossAttention,
    "softmax": SoftmaxCrossAttention,
}


class FusionLayer(nn.Module):
    """Cross-attention in both directions; each reads the other side's input, not its output.

    Args:
        dim: width of the tokens of both sides.
        attention: a key of `ATTENTIONS`.
    """

    def __init__(self, dim: int, attention: str = "gated"):
        super().__init__()
        self.volume = ATTENTIONS[attention](dim)
        self.text = ATTENTIONS[attention](dim)

    def forward(
        self,
        volume: Float[Tensor, "B n d"],
        text: Float[Tensor, "B m d"],
        text_padding: Bool[Tensor, "B m"] | None = None,
    ) -> tuple[Float[Tensor, "B n d"], Float[Tensor, "B m d"]]:
        """Volume and text tokens, each after attending to the other."""
        # The second needs no padding: all visual tokens are real.
        return self.volume(volume, text, text_padding), self.text(text, volume)


class Fusion(nn.Module):
    """A stack of `FusionLayer`s.

    Args:
        dim: width of the tokens of both sides.
        num_layers: at least 1.
        attention: a key of `ATTENTIONS`.

    Raises:
        ValueError: if there is no such attention; the message lists those there are.
    """

    def __init__(self, dim: int, num_layers: int = 2, attention: str = "gated"):
        super().__init__()
        if attention not in ATTENTIONS:
            raise ValueError(f"attention is one of {', '.join(ATTENTIONS)}; got '{attention}'")
        if num_layers < 1:
            raise ValueError(f"num_layers must be at least 1, got {num_layers}")
        self.layers = nn.ModuleList(FusionLayer(dim, attention) for _ in range(num_layers))

    def forward(
        self,
        volume: Float[Tensor, "B n d"],
        text: Float[Tensor, "B m d"],
        *,
        text_padding: Bool[Tensor, "B m"] | None = None,
    ) -> tuple[Float[Tensor, "B n d"], Float[Tensor, "B m d"]]:
        """Volume and text tokens after all layers; padded text tokens come out as 0."""
        for layer in self.layers:
            volume, text = layer(volume, text, text_padding)
        if text_padding is not None:
            text = text.masked_fill(text_padding[..., None], 0.0)
        return volume, text
