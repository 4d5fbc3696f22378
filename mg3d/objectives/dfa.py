"""Disentangled feature aggregation (DFA): what sentences ask of a volume adds up to one patient.

SSM makes equal sentences of different patients ask for equal features; DFA keeps their sum apart:
the volume after fusion must find the aggregation of its own sentences among all patients'.

Source: MG-3D (arXiv 2412.05876), inter-patient objectives ("DCL" in the released code). Own
LayerNorm and bias-free projection per side, temperature 0.1. Its meaning departs from the released
code's as CML's does: gradient of the text side (Q5), gradient of the global batch (Q34), one
projection of the volume (Q3); `config.quirks` brings the first and the last back.
Trivial optimum: the aggregate is made of sentence values, and the fused volume was gated by the
same sentences, so the text can solve most of it.
"""

from jaxtyping import Float
from torch import Tensor, nn

from mg3d.data.batch import Batch
from mg3d.model import Features
from mg3d.objectives.contrastive import (
    ContrastiveHead,
    check_temperature,
    compare_patients,
    symmetric_infonce,
)


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
        return symmetric_infonce(*self._sides(features), self.temperature)

    def compare(self, features: Features, batch: Batch) -> Float[Tensor, "G G"]:
        """Cosines the loss compares: fused volumes in rows, aggregates in columns."""
        return compare_patients(*self._sides(features), temperature=1.0)

    def _sides(self, features: Features) -> tuple[Float[Tensor, "B d"], Float[Tensor, "B d"]]:
        fused = self.volume_head(features.fused_volume_vector)
        return fused, self.aggregate_head(features.aggregate)
