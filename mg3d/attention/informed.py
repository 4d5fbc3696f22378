"""Sentence-informed visual features: what each sentence asks of the volume.

With g the volume's vector and S_i its report's sentences:

    z_i = sigmoid(<query(g), key(S_i)> / sqrt(d)) * value(S_i)
    g'  = tanh(linear(mean over i of z_i))

Two layers, the second reading the first one's outputs (z as the sentences, g' as the volume); each
layer has its own maps, the last line is shared. Note what this means: these "visual" features are
sentence values, which the volume opens or closes by one number each.

Source: MG-3D (arXiv 2412.05876), inter-patient objectives; formulas as in the released code.
"""

from jaxtyping import Bool, Float
from torch import Tensor, nn

from mg3d.attention.gated import GateMap
from mg3d.attention.pooling import masked_mean


class InformedLayer(nn.Module):
    """Every sentence's value, opened by one gate between the volume and that sentence.

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
        """The opened values; 0 for padded sentences."""
        gates = self.gates(volume_vector[:, None], sentences, padding)  # (B, 1, K)
        return gates.mT * self.value(sentences)


class SentenceInformedFeatures(nn.Module):
    """The recursion over layers: sentences informed by the volume, the volume put together again.

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
        """Informed sentences (0 where padded), and the aggregate of each patient's real ones."""
        for layer in self.layers:
            sentences = layer(volume_vector, sentences, padding)
            volume_vector = self.pooler(masked_mean(sentences, padding)).tanh()
        return sentences, volume_vector
