"""Report-to-volume InfoNCE (CLIP): match each volume to its report, without fusion.

Neither side contains the other modality, so the report cannot be used as a shortcut, and the vision
encoder learns quickly. It is a baseline, and the seventh term of the small presets.

Two features can stand for the report. "vector" is the model's report vector, which is trained.
"words" is the mean of the frozen embedding layer, standardised over reports: with no trained text
side, training reports cannot be memorised, which generalises better from few patients.

Source: Radford et al. 2021 (CLIP, arXiv 2103.00020); not an objective of MG-3D. Heads and default
temperature are those of MG-3D's contrastive objectives; a learnable temperature stays at 0.01 or
more, as in CLIP.
Trivial optimum: none; but any trait that identifies a patient in both modalities lowers the loss,
and it need not be a finding.
"""

import math
from typing import TypeVar

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from mg3d.attention.pooling import masked_mean
from mg3d.config import PretrainConfig
from mg3d.data.batch import Batch
from mg3d.distributed import gather
from mg3d.model import MG3D, Features
from mg3d.objectives.contrastive import (
    ContrastiveHead,
    chance_loss,
    check_temperature,
    compare_patients,
    symmetric_infonce,
)
from mg3d.objectives.objective import Baseline, Objective, TrainingPatients
from mg3d.objectives.precision import at_least_float32, unit_length

LOWEST_TEMPERATURE = 0.01
TEXTS = {"vector": "report_vector", "words": "embedded_sentences"}  # text -> feature it reads
Value = TypeVar("Value")


class CentredHead(nn.Module):
    """Frozen report features, standardised over reports, projected to unit length.

    Reports resemble one another, so their mean is subtracted. Mean and deviation are those of the
    global batch in training mode and running averages in evaluation mode, as in batch norm.

    Args:
        dim_in: width of the features.
        dim_out: width of the space they are compared in.
        momentum: weight of the newest batch in the running mean and variance.
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
        """Unit direction in which a report moves when its features change by `change`."""
        return unit_length(self.projection(change / (self.variance + 1e-5).sqrt()))


class CLIP(Objective):
    """InfoNCE between uni-modal volume and report features.

    Args:
        dim: fusion width d.
        temperature: of the InfoNCE, or the start of a learnable one.
        text: what stands for the report: "vector" or "words", see above.
        text_dim: width e of the text encoder; needed for "words".
        learnable: whether the temperature is trained.

    Raises:
        ValueError: if `text` is neither, or "words" comes without a width.
    """

    label = "CLIP · report and volume"
    trivial_model = "chance"
    min_patients = 2  # of one patient the loss is 0, whatever the model gives

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
                f"text is one of {', '.join(TEXTS)}, and 'words' needs text_dim, the text "
                f"encoder's width; got text='{text}', text_dim={text_dim}"
            )
        start = torch.tensor(math.log(check_temperature(temperature)))
        self.log_temperature = nn.Parameter(start, requires_grad=learnable)
        self.text = text
        self.reads = frozenset({"volume_vector", TEXTS[text]})
        self.volume_head = ContrastiveHead(dim, dim)
        self.report_head: ContrastiveHead | CentredHead = (
            CentredHead(text_dim, dim)
            if text_dim and text == "words"
            else ContrastiveHead(dim, dim)
        )

    @classmethod
    def from_config(cls, config: PretrainConfig, model: MG3D) -> "CLIP":
        """Build it with the settings of a run."""
        return cls(
            config.network.dim,
            config.objectives.temperature,
            text=config.objectives.clip_text,
            text_dim=model.text_encoder.width,
        )

    @property
    def temperature(self) -> Float[Tensor, ""]:
        """The cosines are divided by it."""
        return self.log_temperature.exp().clamp(min=LOWEST_TEMPERATURE)

    def sides(
        self, features: Features, batch: Batch
    ) -> tuple[Float[Tensor, "B d"], Float[Tensor, "B d"]]:
        """Unit vectors of reports and of volumes, in the space where they are compared."""
        reports = self.report_head(self._report(features, batch))
        return reports, self.volume_head(features.volume_vector)

    def choose(self, *, vector: Value, words: Value) -> Value:
        """The one of two descriptions of reports that this objective compares with volumes."""
        return {"vector": vector, "words": words}[self.text]

    def direction(self, model: MG3D, stated: Batch, denied: Batch) -> Float[Tensor, " d"]:
        """Unit direction from some reports to others, in the space where they are compared.

        Args:
            model: the one this objective was trained with.
            stated: reports at its end; the mean over them counts.
            denied: reports at its start.
        """
        needed = self.reads - {"volume_vector"}
        end, start = (self._report(model(batch, needed), batch) for batch in (stated, denied))
        if isinstance(self.report_head, CentredHead):  # linear: the mean over reports cancels
            return self.report_head.direction((end.mean(0) - start.mean(0))[None])[0]
        change = self.report_head(end).mean(0) - self.report_head(start).mean(0)
        return F.normalize(change, dim=0)

    def forward(self, features: Features, batch: Batch) -> Float[Tensor, ""]:
        """InfoNCE over the global batch; 0 at batch size 1, where there are no negatives."""
        return symmetric_infonce(*self.sides(features, batch), self.temperature)

    def compare(self, features: Features, batch: Batch) -> Float[Tensor, "G G"]:
        """Cosines in the loss: reports in rows, volumes in columns."""
        return compare_patients(*self.sides(features, batch), temperature=1.0)

    def baseline(self, features: Features, batch: Batch, train: TrainingPatients) -> Baseline:
        """ln B: all patients of the batch equally likely."""
        return Baseline(chance_loss(len(batch)))

    def _report(self, features: Features, batch: Batch) -> Float[Tensor, "B i"]:
        if self.text == "words":
            return masked_mean(features.embedded_sentences, batch.sentence_padding)
        return features.report_vector
