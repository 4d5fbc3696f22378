"""Sentence-informed visual features: sentence values gated by the volume vector.

With g the volume's vector and S_i its report's sentences:

    z_i = sigmoid(<query(g), key(S_i)> / sqrt(d)) * value(S_i)
    g'  = tanh(linear(mean over i of z_i))

The second of two layers takes z as the sentences and g' as the volume vector. Each layer has its
own q, k and v; the linear map of the last line is shared. Despite their name, the features are
sentence values; the volume only scales each of them by one number.

Source: MG-3D (arXiv 2412.05876), inter-patient objectives; formulas as in the released code.
"""

from jaxtyping import Bool, Float
from torch import Tensor, nn

from mg3d.attention.gated import GateMap
from mg3d.attention.pooling import masked_mean


class InformedLayer(nn.Module):
    """Every sentence's value, scaled by one gate between the volume and that sentence.

    Args:
        dim: width of volume vector and sentences.
    """

    def __init__(self, dim: int):
        super().__init__()
        self.gates = GateMap(dim)
        self.value = nn.Linear(dim, dim)

    def forward(
        self,
        volume_vector: Float[Tensor, "B d"],
        sentences: Float[Tensor, "B K d"],
        padding: Bool[Tensor, "B K"],
    ) -> Float[Tensor, "B K d"]:
        """The scaled values; 0 for padded sentences."""
        gates = self.gates(volume_vector[:, None], sentences, padding)  # (B, 1, K)
        return gates.mT * self.value(sentences)


class SentenceInformedFeatures(nn.Module):
    """All layers: sentence values gated by the volume vector, then their mean as the next vector.

    Args:
        dim: width of volume vector and sentences.
        num_layers: at least 1.
    """

    def __init__(self, dim: int, num_layers: int = 2):
        super().__init__()
        if num_layers < 1:
            raise ValueError(f"num_layers must be at least 1, got {num_layers}")
        self.layers = nn.ModuleList(InformedLayer(dim) for _ in range(num_layers))
        self.pooler = nn.Linear(dim, dim)
        nn.init.normal_(self.pooler.weight, std=0.02)
        nn.init.zeros_(self.pooler.bias)

    def forward(
        self,
        volume_vector: Float[Tensor, "B d"],
        sentences: Float[Tensor, "B K d"],
        padding: Bool[Tensor, "B K"],
    ) -> tuple[Float[Tensor, "B K d"], Float[Tensor, "B d"]]:
        """Informed sentences (0 where padded), and the aggregate of the real ones."""
        for layer in self.layers:
            sentences = layer(volume_vector, sentences, padding)
            volume_vector = self.pooler(masked_mean(sentences, padding)).tanh()
        return sentences, volume_vector
