"""Disentangled feature aggregation (DFA): what sentences ask of a volume adds up to one patient.

SSM makes equal sentences of different patients ask for equal features; DFA keeps their sum apart:
the volume after fusion must find the aggregation of its own sentences among all patients'.

Source: MG-3D (arXiv 2412.05876), inter-patient objectives ("DCL" in the released code). Own
LayerNorm and bias-free projection per side, temperature 0.1.
"""

from jaxtyping import Float
from torch import Tensor, nn

from mg3d.data.dataset import Batch
from mg3d.model import Features
from mg3d.objectives.contrastive import ContrastiveHead, check_temperature, symmetric_infonce


class DFA(nn.Module):
    """InfoNCE between the fused volume vector and the aggregate of its sentences.

    Args:
        dim: fusion width d.
        temperature: of the InfoNCE.
    """

    def __init__(self, dim: int, temperature: float = 0.1):
        super().__init__()
        self.temperature = check_temperature(temperature)
        self.volume_head = ContrastiveHead(dim, dim)
        self.aggregate_head = ContrastiveHead(dim, dim)

    def forward(self, features: Features, batch: Batch) -> Float[Tensor, ""]:
        """0 for a batch of one patient."""
        return symmetric_infonce(
            self.volume_head(features.fused_volume_vector),
            self.aggregate_head(features.aggregate),
            self.temperature,
        )
