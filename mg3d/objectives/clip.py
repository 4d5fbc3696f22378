"""Plain report-to-volume InfoNCE (CLIP): the baseline, and the small presets' seventh term.

Nothing is fused: the volume alone must find its report among all reports, and the report its
volume. There is no shortcut through the text, which is why it teaches the vision encoder quickly.

What stands for the report is a choice that matters. "vector" is the model's own report vector,
which learns along. "words" is the mean of the frozen embedding layer, with what all reports share
taken off: nothing on the text's side can learn reports by heart, and that carries over to new
patients better when there are few.

Source: Radford et al. 2021 (CLIP, arXiv 2103.00020); not an objective of MG-3D. Heads and default
temperature are those of MG-3D's contrastive objectives; a learnable temperature stays at 0.01 or
more, as in CLIP.
Trivial optimum: none; but whatever tells patients apart in both modalities will do, and that need
not be a finding.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mg3d.attention.pooling import masked_mean
from mg3d.data.batch import Batch
from mg3d.distributed import gather
from mg3d.model import Features
from mg3d.objectives.contrastive import (
    ContrastiveHead,
    check_temperature,
    compare_patients,
    symmetric_infonce,
)
from mg3d.objectives.precision import at_least_float32, unit_length

COLDEST = 0.01
TEXTS = ("vector", "words")


class CentredHead(nn.Module):
    """Frozen report features, standardised over reports, projected to unit length.

    Most of a report is what every report says. Mean and deviation are those of the (global) batch
    while training, and running ones afterwards, as in batch norm.

    Args:
        dim_in: width of the features.
        dim_out: width of the space they are compared in.
        momentum: share of the newest batch in the running mean and variance.
    """

    mean: Tensor
    variance: Tensor

    def __init__(self, dim_in: int, dim_out: int, *, momentum: float = 0.05):
        super().__init__()
        self.momentum = momentum
        self.projection = nn.Linear(dim_in, dim_out, bias=False)
        self.register_buffer("mean", torch.zeros(dim_in))
        self.register_buffer("variance", torch.ones(dim_in))

    def forward(self, reports: Float[Tensor, "B e"]) -> Float[Tensor, "B d"]:
        """Unit vectors, in float32 at least."""
        reports = at_least_float32(reports)
        mean, variance = self.mean, self.variance
        if self.training:
            with torch.no_grad():
                everyone = gather(reports)
                mean, variance = everyone.mean(0), everyone.var(0, correction=0)
                self.mean.lerp_(mean, self.momentum)
                self.variance.lerp_(variance, self.momentum)
        return unit_length(self.projection((reports - mean) / (variance + 1e-5).sqrt()))

    def direction(self, change: Float[Tensor, "Q e"]) -> Float[Tensor, "Q d"]:
        """Where a report moves, in the space of comparison, when its features change so; unit."""
        return unit_length(self.projection(change / (self.variance + 1e-5).sqrt()))


class CLIP(nn.Module):
    """InfoNCE between uni-modal volume and report features.

    Args:
        dim: fusion width d.
        temperature: of the InfoNCE, or where a learnable one starts.
        text: "vector" or "words", see above.
        text_dim: width e of the text encoder; needed for "words".
        learnable: whether the temperature is trained.

    Raises:
        ValueError: if `text` is neither, or "words" comes without a width.
    """

    def __init__(
        self,
        dim: int,
        temperature: float = 0.1,
        *,
        text: str = "vector",
        text_dim: int | None = None,
        learnable: bool = False,
    ):
        super().__init__()
        if text not in TEXTS or (text == "words" and text_dim is None):
            raise ValueError(
                f"text is one of {TEXTS}, and 'words' needs text_dim, the text encoder's width; "
                f"got text='{text}', text_dim={text_dim}"
            )
        start = torch.tensor(math.log(check_temperature(temperature)))
        self.log_temperature = nn.Parameter(start, requires_grad=learnable)
        self.text = text
        self.volume_head = ContrastiveHead(dim, dim)
        self.report_head: ContrastiveHead | CentredHead = (
            CentredHead(text_dim, dim)
            if text_dim and text == "words"
            else ContrastiveHead(dim, dim)
        )

    @property
    def temperature(self) -> Float[Tensor, ""]:
        """What the cosines are divided by."""
        return self.log_temperature.exp().clamp(min=COLDEST)

    def sides(
        self, features: Features, batch: Batch
    ) -> tuple[Float[Tensor, "B d"], Float[Tensor, "B d"]]:
        """Unit vectors of reports and of volumes, in the space where they are compared."""
        if self.text == "words":
            reports = masked_mean(features.embedded_sentences, batch.sentence_padding)
        else:
            reports = features.report_vector
        return self.report_head(reports), self.volume_head(features.volume_vector)

    def forward(self, features: Features, batch: Batch) -> Float[Tensor, ""]:
        """0 for a batch of one patient."""
        return symmetric_infonce(*self.sides(features, batch), self.temperature)

    def compare(self, features: Features, batch: Batch) -> Float[Tensor, "G G"]:
        """Cosines the loss compares: reports in rows, volumes in columns."""
        return compare_patients(*self.sides(features, batch), temperature=1.0)
