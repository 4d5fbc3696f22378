"""What solves DFA, the report or the volume? Its matches when one of them is taken away.

The aggregate of a patient's sentences is looked for with that patient's fused volume. Here one
modality is made the same for all patients, or the fused volume is made of one patient's report and
another's volume. What remains is solved without the part that was changed.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from mg3d.config import PretrainConfig
from mg3d.data.batch import Batch
from mg3d.data.dataset import VolumeReportDataset
from mg3d.evaluation.metrics import Score, bootstrap, recall_at
from mg3d.model import MG3D, Features
from mg3d.modes import evaluating
from mg3d.objectives.dfa import DFA
from mg3d.training.heldout import held_out_batches
from mg3d.training.step import Pretraining

OWN = "own report, own volume"
ONE_VOLUME = "one volume for all"
ONE_REPORT = "one report for all"
BY_REPORT = "mixed, found by its report"
BY_VOLUME = "mixed, found by its volume"


@dataclass(frozen=True)
class Matches:
    """One number a patient."""

    loss: Float[np.ndarray, " P"]  # nats; mean of the two directions
    hit: Float[
        np.ndarray, " P"
    ]  # 1 if the aggregate looked for is the most similar one; ties share

    def mean_loss(self, *, seed: int = 0) -> Score:
        """DFA's loss with its interval over patients."""
        return bootstrap(lambda p: float(self.loss[p].mean()), len(self.loss), seed=seed)

    def found(self, *, seed: int = 0) -> Score:
        """Share of the patients that are found."""
        return bootstrap(lambda p: float(self.hit[p].mean()), len(self.hit), seed=seed)


@torch.no_grad()
def dfa_swaps(
    pretraining: Pretraining,
    dataset: VolumeReportDataset,
    config: PretrainConfig,
    device: torch.device | str,
    mean_volume: Float[Tensor, "1 H W D"],
) -> dict[str, Matches]:
    """DFA's matches on held-out patients, once as they are and four times with a part changed.

    Args:
        pretraining: the model and its objectives.
        dataset: held-out patients.
        config: of the run; patients are compared within batches of its size.
        device: where the model is.
        mean_volume: of the training patients; the volume of all in `ONE_VOLUME`.

    Returns the matches by the names above, of the same patients in the same order. In the last two,
    the fused volume is made of a patient's report and the volume of the patient before; the
    aggregates stay as they are.

    Raises:
        ValueError: if the run has no DFA, or there are fewer than two patients to swap.
    """
    dfa = pretraining.find(DFA)
    if dfa is None:
        raise ValueError("these weights were trained without DFA; take others")
    whole = replace(config, weights=config.weights.only("dfa"))  # nothing need be hidden
    found: dict[str, list[tuple[Tensor, np.ndarray]]] = {}
    with evaluating(pretraining):
        for batch in held_out_batches(dataset, whole, pretraining.model.text_encoder, device):
            if len(batch) < 2:
                continue
            for name, cosine in _compare(pretraining.model, dfa, batch, mean_volume).items():
                found.setdefault(name, []).append(
                    (patient_losses(cosine / dfa.temperature), recall_at(1, cosine.cpu().numpy()))
                )
    if not found:
        raise ValueError(
            f"patients can only be swapped where there are two or more, got {len(dataset)}; give "
            "more held-out patients"
        )
    return {
        name: Matches(
            torch.cat([loss for loss, _ in parts]).double().cpu().numpy(),
            np.concatenate([hit for _, hit in parts]),
        )
        for name, parts in found.items()
    }


def patient_losses(logits: Float[Tensor, "B B"]) -> Float[Tensor, " B"]:
    """Each patient's part of symmetric InfoNCE; the mean is the loss."""
    truth = torch.arange(len(logits), device=logits.device)
    rows, columns = (F.cross_entropy(side, truth, reduction="none") for side in (logits, logits.mT))
    return (rows + columns) / 2


def with_one_report(batch: Batch, row: int = 0) -> Batch:
    """The same volumes, all with the report of one patient.

    Args:
        batch: with at least one patient.
        row: whose report.
    """
    fields = ("tokens", "padding", "sentence", "word", "sentence_padding")
    same = {name: getattr(batch, name)[row].expand(len(batch), -1) for name in fields}
    return replace(batch, sentences=(batch.sentences[row],) * len(batch), **same)


def _compare(
    model: MG3D, dfa: DFA, batch: Batch, mean_volume: Tensor
) -> Mapping[str, Float[Tensor, "B B"]]:
    """Cosines of fused volumes (rows) and aggregates, the match on the diagonal, by condition."""
    one_volume = mean_volume.to(batch.volume).expand_as(batch.volume)
    own, alone, alike, mixed = (
        model(shown, needed=dfa.reads)
        for shown in (
            batch,
            replace(batch, volume=one_volume),
            with_one_report(batch),
            replace(batch, volume=batch.volume.roll(1, 0)),
        )
    )
    sides = {
        OWN: (own.fused_volume_vector, own.aggregate),
        ONE_VOLUME: (alone.fused_volume_vector, alone.aggregate),
        ONE_REPORT: (alike.fused_volume_vector, alike.aggregate),
        BY_REPORT: (mixed.fused_volume_vector, own.aggregate),
        BY_VOLUME: (mixed.fused_volume_vector.roll(-1, 0), own.aggregate),
    }
    return {
        name: dfa.compare(
            Features(token_grid=model.token_grid, fused_volume_vector=fused, aggregate=aggregate),
            batch,
        )
        for name, (fused, aggregate) in sides.items()
    }
