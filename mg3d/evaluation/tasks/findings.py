"""Fine-tuning on several yes/no labels a volume: one logit a label, from a pooled head."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from torch import Tensor, nn

from mg3d.data.volume_batch import VolumeBatch
from mg3d.encoders import Encoder
from mg3d.evaluation.tasks.classification import HeadSettings, PooledHead, known_bce
from mg3d.evaluation.tasks.multilabel import LabelSettings, MultiLabel, not_learned
from mg3d.evaluation.tasks.settings import TaskConfig
from mg3d.evaluation.tasks.task import Cases


@dataclass(frozen=True, kw_only=True)
class FindingSettings(LabelSettings, HeadSettings):
    """Labels and head."""


class Findings(MultiLabel):
    """Fine-tuning on any labels of 0 and 1, unknown ones left out."""

    @classmethod
    def defaults(cls) -> TaskConfig:
        """Settings of fine-tuning with a pooled head."""
        return TaskConfig(own=FindingSettings())

    def head(self, encoder: Encoder, train: Cases) -> nn.Module:
        """Pool, layer norm, linear."""
        own: Any = self.config.own
        return PooledHead(encoder.width, len(train.label_names), own.pooling)

    def loss(self, output: Float[Tensor, "B C"], batch: VolumeBatch) -> dict[str, Tensor]:
        """Binary cross-entropy, mean over the labels that are known."""
        return {"bce": known_bce(output, batch.labels)}

    def known(self, train: Cases, numbers: Int[np.ndarray, " N"]) -> dict[str, Any]:
        """Labels without two classes among the training cases: they have no score."""
        return {"not_learned": not_learned(train, numbers)}
