"""Disentangled feature aggregation (DFA): match a fused volume to the aggregate of its sentences.

InfoNCE between the pooled volume after fusion and the aggregate of the patient's sentence-informed
features, each side with its own LayerNorm and bias-free projection. SSM makes features of equal
sentences equal across patients; DFA keeps the aggregates of different patients distinguishable.

Source: MG-3D (arXiv 2412.05876), inter-patient objectives; the released code, which calls it DCL,
differs in details, see Q3, Q5, Q34 and Q35 in `docs/quirks.md`.
Trivial optimum: the aggregate consists of sentence values, and the fused volume was gated by the
same sentences, so the text alone can lower most of the loss.
"""

from jaxtyping import Float
from torch import Tensor

from mg3d.config import PretrainConfig
from mg3d.data.batch import Batch
from mg3d.model import MG3D, Features
from mg3d.objectives.contrastive import (
    ContrastiveHead,
    chance_loss,
    check_temperature,
    compare_patients,
    symmetric_infonce,
)
from mg3d.objectives.objective import Baseline, Objective, TrainingPatients


class DFA(Objective):
    """InfoNCE between the fused volume vector and the aggregate of its sentences.

    Args:
        dim: fusion width d.
        temperature: of the InfoNCE.
    """

    label = "DFA · aggregated features"
    trivial_model = "chance"
    min_patients = 2  # of one patient the loss is 0, whatever the model gives
    reads = frozenset({"fused_volume_vector", "aggregate"})

    def __init__(self, dim: int, temperature: float = 0.1):
        super().__init__()
        self.temperature = check_temperature(temperature)
        self.volume_head = ContrastiveHead(dim, dim)
        self.aggregate_head = ContrastiveHead(dim, dim)

    @classmethod
    def from_config(cls, config: PretrainConfig, model: MG3D) -> "DFA":
        """Build it with the settings of a run."""
        return cls(config.network.dim, config.objectives.temperature)

    def forward(self, features: Features, batch: Batch) -> Float[Tensor, ""]:
        """InfoNCE over the global batch; 0 at batch size 1, where there are no negatives."""
        return symmetric_infonce(*self._sides(features), self.temperature)

    def compare(self, features: Features, batch: Batch) -> Float[Tensor, "G G"]:
        """Cosines in the loss: fused volumes in rows, aggregates in columns."""
        return compare_patients(*self._sides(features), temperature=1.0)

    def baseline(self, features: Features, batch: Batch, train: TrainingPatients) -> Baseline:
        """ln B: all patients of the batch equally likely."""
        return Baseline(chance_loss(len(batch)))

    def _sides(self, features: Features) -> tuple[Float[Tensor, "B d"], Float[Tensor, "B d"]]:
        fused = self.volume_head(features.fused_volume_vector)
        return fused, self.aggregate_head(features.aggregate)
