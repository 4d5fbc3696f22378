"""Prompted ("vocabulary") classification: a volume fused with a pair of prompts for each finding.

The two prompts of a finding act as the sentences of the volume's report: tokens are projected, the
gated layers fuse them, two bias-free maps give one vector of the volume and one of each prompt, and
the probability is the soft-max of their scaled cosines. Fusion, projections and the two maps learn;
the text encoder is frozen, and so is the vision encoder unless the settings say otherwise.

Source: MG-3D's released evaluation, as restated in its protocol. As there: mean squared error of
the pair's soft-max. Unlike there: one fusion for all tasks (projection and modality embedding,
means instead of attention pooling), prompts as masked means of their tokens, all findings in one
step, and the text encoder of the model's own pre-training.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from mg3d.attention.pooling import masked_mean
from mg3d.evaluation.encode import batch_sentences
from mg3d.evaluation.tasks.multilabel import LabelSettings, MultiLabel, not_learned
from mg3d.evaluation.tasks.settings import FinetuneSettings, TaskConfig, TuningSettings
from mg3d.evaluation.tasks.task import Cases
from mg3d.evaluation.tasks.tuning import encode, freeze_or_adapt
from mg3d.model import MG3D
from mg3d.text.prompts import PROMPTS

TEMPERATURE = 0.1  # cosines are divided by it


@dataclass(frozen=True, kw_only=True)
class PromptSettings(LabelSettings):
    """Labels, prompts and loss."""

    prompts: Literal["names", "sentences"] = "names"  # "X." and "not X.", or a report's wordings
    pair_loss: Literal["mse", "cross_entropy"] = "mse"  # of the soft-max of a pair


class PromptedNetwork(nn.Module):
    """Log-odds of every finding from a volume and its prompts.

    Args:
        model: its text encoder is frozen, its fusion and projections learn.
        encoder: of the model, from `freeze_or_adapt`.
        stated: frozen features of the prompts that state each finding.
        denied: likewise, that deny it.
    """

    stated: Tensor
    denied: Tensor

    def __init__(
        self,
        model: MG3D,
        encoder: nn.Module,
        stated: Float[Tensor, "C e"],
        denied: Float[Tensor, "C e"],
    ):
        super().__init__()
        self.encoder = encoder
        self.projection, self.text_projection = model.volume_projection, model.text_projection
        self.modality, self.fusion = model.modality, model.sentence_fusion
        self.register_buffer("stated", stated)
        self.register_buffer("denied", denied)
        dim, tokens = model.modality.embedding_dim, model.volume_pooler.weighting.in_features
        self.volume_map = nn.Linear(dim * tokens, dim, bias=False)
        self.text_map = nn.Linear(dim, dim, bias=False)

    def forward(self, batch: Any) -> Float[Tensor, "B C"]:
        """Log-odds of each finding."""
        tokens = encode(self.encoder, batch.volume)[-1].flatten(2).mT
        volume = self.projection(tokens) + self.modality.weight[1]  # (B, N, d)
        pairs = torch.stack([self.stated, self.denied], dim=1)  # (C, 2, e)
        texts = self.text_projection(pairs) + self.modality.weight[0]
        size, findings = len(volume), len(texts)
        own = volume.repeat_interleave(findings, dim=0)  # finding after finding of each volume
        fused, prompts = self.fusion(own, texts.repeat(size, 1, 1))
        vectors = F.normalize(self.volume_map(fused.flatten(1)), dim=-1)[:, None]
        cosines = (vectors * F.normalize(self.text_map(prompts), dim=-1)).sum(-1)
        logits: Tensor = (cosines[:, 0] - cosines[:, 1]).view(size, findings) / TEMPERATURE
        return logits


class Prompted(MultiLabel):
    """Prompted classification: fusion of a volume with stating and denying prompts, fine-tuned."""

    part: ClassVar[str] = "pretraining"

    @classmethod
    def defaults(cls) -> TaskConfig:
        """Settings of fine-tuning the fusion."""
        return TaskConfig(
            own=PromptSettings(),
            tuning=TuningSettings(tuning="frozen"),
            finetune=FinetuneSettings(weight_decay=0.1, total_steps=400),
        )

    def network(self, start: Any, train: Cases) -> nn.Module:
        """The model's fusion with prompts of the labels."""
        model = start.pretraining.model
        own: Any = self.config.own
        pairs = [prompts_of(name, own.prompts) for name in train.label_names]
        stated, denied = (
            torch.stack([embed_prompts(model, pair[side]) for pair in pairs]) for side in (0, 1)
        )
        encoder = freeze_or_adapt(model.encoder, self.config.tuning)
        return PromptedNetwork(model, encoder, stated, denied)

    def known(self, train: Cases, numbers: Int[np.ndarray, " N"]) -> dict[str, Any]:
        """Nothing; refuses training cases from which nothing can be learned."""
        not_learned(train, numbers)
        return {}

    def loss(self, output: Tensor, batch: Any) -> dict[str, Tensor]:
        """Mean over known labels of (1 - p of the true statement)^2, or of -log p."""
        own: Any = self.config.own
        known = ~batch.labels.isnan()
        sign = 2 * torch.where(known, batch.labels, 0.0) - 1
        if own.pair_loss == "mse":
            every = torch.sigmoid(-sign * output).square()
        else:
            every = F.softplus(-sign * output)
        return {own.pair_loss: (every * known).sum() / known.sum().clamp(min=1)}


def prompts_of(name: str, style: str) -> tuple[Sequence[str], Sequence[str]]:
    """Prompts that state a finding, and that deny it.

    Args:
        name: of the finding.
        style: "names" or "sentences".

    Raises:
        ValueError: if there are no sentences for it.
    """
    if style == "names":
        return (f"{name}.",), (f"not {name}.",)
    if name not in PROMPTS:
        raise ValueError(
            f"there are no sentences for {name}, only for {', '.join(PROMPTS)}; take prompts=names"
        )
    return PROMPTS[name]


@torch.no_grad()
def embed_prompts(model: MG3D, prompts: Sequence[str]) -> Float[Tensor, " e"]:
    """Mean over prompts of the mean over their words of the frozen text encoder's states."""
    batch = batch_sentences(model, prompts)
    hidden = model.text_encoder(batch.tokens, batch.padding).hidden
    return masked_mean(hidden, batch.sentence < 0).mean(0)
