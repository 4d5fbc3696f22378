"""Plain report-to-volume InfoNCE (CLIP): the baseline, and the small presets' seventh term.

Nothing is fused: the volume alone must find its report among all reports, and the report its
volume. There is no shortcut through the text, which is why it teaches the vision encoder quickly.

Source: Radford et al. 2021 (CLIP, arXiv 2103.00020); not an objective of MG-3D. Head and default
temperature are those of MG-3D's contrastive objectives; a learnable temperature stays at 0.01 or
more, as in CLIP.
Trivial optimum: none; but whatever tells patients apart in both modalities will do, and that need
not be a finding.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mg3d.data.dataset import Batch
from mg3d.model import Features
from mg3d.objectives.contrastive import (
    ContrastiveHead,
    check_temperature,
    compare_patients,
    symmetric_infonce,
)

COLDEST = 0.01


class CLIP(nn.Module):
    """InfoNCE between uni-modal volume and report vectors.

    Args:
        dim: fusion width d.
        temperature: of the InfoNCE, or where a learnable one starts.
        learnable: whether the temperature is trained.
    """

    def __init__(self, dim: int, temperature: float = 0.1, *, learnable: bool = False):
        super().__init__()
        start = torch.tensor(math.log(check_temperature(temperature)))
        self.log_temperature = nn.Parameter(start, requires_grad=learnable)
        self.volume_head = ContrastiveHead(dim, dim)
        self.report_head = ContrastiveHead(dim, dim)

    @property
    def temperature(self) -> Float[Tensor, ""]:
        """What the cosines are divided by."""
        return self.log_temperature.exp().clamp(min=COLDEST)

    def forward(self, features: Features, batch: Batch) -> Float[Tensor, ""]:
        """0 for a batch of one patient."""
        return symmetric_infonce(
            self.report_head(features.report_vector),
            self.volume_head(features.volume_vector),
            self.temperature,
        )

    def compare(self, features: Features, batch: Batch) -> Float[Tensor, "G G"]:
        """Cosines the loss compares: reports in rows, volumes in columns."""
        reports = self.report_head(features.report_vector)
        return compare_patients(reports, self.volume_head(features.volume_vector), temperature=1.0)
