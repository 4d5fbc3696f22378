"""Cross-modal global alignment (CML): a patient stays the same after the other modality is seen.

Each side holds both modalities: [text; volume] after fusion against [text; volume] alone. Both
contain the report, so the text alone can solve it: that is how the method is defined, and it is the
trivial optimum to keep in mind.

Source: MG-3D (arXiv 2412.05876), Fig. 5. Follows the released code: own LayerNorm and bias-free
projection per side, temperature 0.1. Its meaning departs from the released code's in some places:
the gradient also reaches the text projection (cut off there, Q5; `config.quirks.detach_sentences`)
and is that of the global batch (there divided by the number of processes, Q34); and the volume is
projected once (there twice, Q3; `config.quirks.project_twice`).
"""

import torch
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


class CML(nn.Module):
    """InfoNCE between fused and uni-modal [text; volume] vectors.

    Args:
        dim: fusion width d.
        temperature: of the InfoNCE.
    """

    def __init__(self, dim: int, temperature: float = 0.1):
        super().__init__()
        self.temperature = check_temperature(temperature)
        self.fused_head = ContrastiveHead(2 * dim, dim)
        self.alone_head = ContrastiveHead(2 * dim, dim)

    def forward(self, features: Features, batch: Batch) -> Float[Tensor, ""]:
        """0 for a batch of one patient: there is nobody to take them for."""
        return symmetric_infonce(*self._sides(features), self.temperature)

    def compare(self, features: Features, batch: Batch) -> Float[Tensor, "G G"]:
        """Cosines the loss compares: patients after fusion in rows, alone in columns."""
        return compare_patients(*self._sides(features), temperature=1.0)

    def _sides(self, features: Features) -> tuple[Float[Tensor, "B d"], Float[Tensor, "B d"]]:
        fused = torch.cat([features.fused_report_vector, features.fused_volume_vector], dim=-1)
        alone = torch.cat([features.report_vector, features.volume_vector], dim=-1)
        return self.fused_head(fused), self.alone_head(alone)
