"""Cross-modal global alignment (CML): match a patient's vectors before and after fusion.

InfoNCE between [report; volume] after fusion and [report; volume] alone, each side with its own
LayerNorm and bias-free projection.

Source: MG-3D (arXiv 2412.05876), Fig. 5; the released code differs in details, see Q3, Q5 and Q34
in `docs/quirks.md`.
Trivial optimum: both sides contain the report, so a model that ignores the volume can reach 0.
"""

import torch
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


class CML(Objective):
    """InfoNCE between fused and uni-modal [text; volume] vectors.

    Args:
        dim: fusion width d.
        temperature: of the InfoNCE.
    """

    label = "CML · alone and fused"
    trivial_model = "chance"
    min_patients = 2  # of one patient the loss is 0, whatever the model gives
    reads = frozenset(
        {"report_vector", "volume_vector", "fused_report_vector", "fused_volume_vector"}
    )

    def __init__(self, dim: int, temperature: float = 0.1):
        super().__init__()
        self.temperature = check_temperature(temperature)
        self.fused_head = ContrastiveHead(2 * dim, dim)
        self.alone_head = ContrastiveHead(2 * dim, dim)

    @classmethod
    def from_config(cls, config: PretrainConfig, model: MG3D) -> "CML":
        """Build it with the settings of a run."""
        return cls(config.network.dim, config.objectives.temperature)

    def forward(self, features: Features, batch: Batch) -> Float[Tensor, ""]:
        """InfoNCE over the global batch; 0 at batch size 1, where there are no negatives."""
        return symmetric_infonce(*self._sides(features), self.temperature)

    def compare(self, features: Features, batch: Batch) -> Float[Tensor, "G G"]:
        """Cosines in the loss: patients after fusion in rows, before it in columns."""
        return compare_patients(*self._sides(features), temperature=1.0)

    def baseline(self, features: Features, batch: Batch, train: TrainingPatients) -> Baseline:
        """ln B: all patients of the batch equally likely."""
        return Baseline(chance_loss(len(batch)))

    def _sides(self, features: Features) -> tuple[Float[Tensor, "B d"], Float[Tensor, "B d"]]:
        fused = torch.cat([features.fused_report_vector, features.fused_volume_vector], dim=-1)
        alone = torch.cat([features.report_vector, features.volume_vector], dim=-1)
        return self.fused_head(fused), self.alone_head(alone)
