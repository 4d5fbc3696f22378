"""Does MLM use the volume? MLM loss with another patient's volume minus that with the matching one.

Both losses are measured on the same reports with the same hidden words; only the volumes are
swapped. For a model that predicts words from the rest of the report alone, the difference is 0.
"""

from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from mg3d.config import PretrainConfig
from mg3d.data.batch import Batch
from mg3d.data.dataset import VolumeReportDataset
from mg3d.evaluation.metrics import Score, bootstrap
from mg3d.modes import evaluating
from mg3d.objectives.mlm import MLM
from mg3d.objectives.precision import at_least_float32
from mg3d.training.heldout import held_out_batches
from mg3d.training.step import Pretraining

DRAWS = 4  # word masks to average over: the difference is small, and one mask is noisy


@torch.no_grad()
def mlm_rise(
    pretraining: Pretraining,
    dataset: VolumeReportDataset,
    config: PretrainConfig,
    device: torch.device | str,
    *,
    draws: int = DRAWS,
    seed: int = 0,
) -> Score | None:
    """How much MLM's loss rises when every report gets another patient's volume.

    Args:
        pretraining: the model and its objectives.
        dataset: held-out patients.
        config: of the run.
        device: where the model is.
        draws: number of word masks to average over; 1 uses the mask of `held_out_losses` only.
        seed: of the bootstrap.

    Returns the mean over patients, in nats per hidden token, with its 95 % interval over patients;
    None in a run without MLM, or with fewer than two patients to swap.
    """
    mlm = pretraining.find(MLM)
    words_only = replace(config, weights=config.weights.only("mlm"))  # no masked volume is needed
    if mlm is None:
        return None
    rises: list[list[Tensor]] = []
    text = pretraining.model.text_encoder
    with evaluating(pretraining):
        for draw in range(draws):
            rises.append([])
            for batch in held_out_batches(dataset, words_only, text, device, draw=draw):
                if len(batch) < 2:
                    continue
                # Each report gets the volume of the patient before it in the batch.
                swapped = replace(batch, volume=batch.volume.roll(1, 0))
                matching_loss, swapped_loss = (
                    _losses(pretraining, mlm, shown) for shown in (batch, swapped)
                )
                rises[-1].append(swapped_loss - matching_loss)
    if not rises or not rises[0]:
        return None
    values = torch.stack([torch.cat(parts) for parts in rises]).mean(dim=0).double().cpu().numpy()
    return bootstrap(lambda p: float(np.mean(values[p])), len(values), seed=seed)


def _losses(pretraining: Pretraining, mlm: MLM, batch: Batch) -> Float[Tensor, " B"]:
    """Mean cross-entropy over the hidden tokens of each patient."""
    assert batch.word_mask is not None
    logits = at_least_float32(mlm.guess(pretraining.model(batch), batch))  # (hidden tokens, V)
    losses = torch.zeros(batch.word_mask.shape, dtype=logits.dtype, device=logits.device)
    losses[batch.word_mask] = F.cross_entropy(
        logits, batch.tokens[batch.word_mask].long(), reduction="none"
    )
    return losses.sum(dim=1) / batch.word_mask.sum(dim=1).clamp(min=1)
