"""Does MIM use the report? Its error with another patient's report, and that of the mean volume.

All errors are measured at the same hidden voxels of the same volumes; only the reports are swapped.
For a model that fills in volumes from the visible voxels alone, the difference is 0.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from mg3d.config import PretrainConfig
from mg3d.data.dataset import VolumeReportDataset
from mg3d.evaluation.metrics import Score, bootstrap
from mg3d.modes import evaluating
from mg3d.objectives.mim import MIM, coarsen, hidden_error
from mg3d.training.heldout import held_out_batches
from mg3d.training.step import Pretraining


@dataclass(frozen=True)
class ReconstructionErrors:
    """Mean squared error over the hidden voxels of each patient, of volumes in [0, 1]."""

    own: Float[np.ndarray, " P"]  # with the patient's own report
    other: Float[np.ndarray, " P"]  # with another patient's report
    mean: Float[np.ndarray, " P"]  # of the mean volume of the training patients

    def removed(self, *, seed: int = 0) -> Score:
        """Share of the mean volume's error that the model removes; below 0: worse than the mean."""
        return bootstrap(
            lambda p: float(1 - self.own[p].mean() / self.mean[p].mean()), len(self.own), seed=seed
        )

    def rise(self, *, seed: int = 0) -> Score:
        """How much the error rises with another patient's report."""
        return bootstrap(
            lambda p: float((self.other - self.own)[p].mean()), len(self.own), seed=seed
        )


@torch.no_grad()
def mim_errors(
    pretraining: Pretraining,
    dataset: VolumeReportDataset,
    config: PretrainConfig,
    device: torch.device | str,
    mean_volume: Float[Tensor, "1 H W D"],
) -> ReconstructionErrors:
    """Errors of MIM on held-out patients; a batch of a single patient is left out.

    Args:
        pretraining: the model and its objectives.
        dataset: held-out patients.
        config: of the run.
        device: where the model is.
        mean_volume: of the training patients.

    Raises:
        ValueError: if the run has no MIM, or there are fewer than two patients to swap.
    """
    mim = pretraining.find(MIM)
    if mim is None:
        raise ValueError("these weights were trained without MIM; take others")
    voxels_only = replace(config, weights=config.weights.only("mim"))  # no word need be hidden
    found: tuple[list[float], ...] = ([], [], [])
    with evaluating(pretraining):
        for batch in held_out_batches(dataset, voxels_only, pretraining.model.text_encoder, device):
            mask = batch.voxel_mask
            if len(batch) < 2 or mask is None:
                continue
            target, weight = coarsen(batch.volume, mask, mim.output_stride)
            # Each volume gets the report of the patient before it in the batch.
            moved = replace(batch, volume=batch.volume.roll(-1, 0), voxel_mask=mask.roll(-1, 0))
            own, other = (
                mim.reconstruct(pretraining.model(shown, needed=mim.reads))
                for shown in (batch, moved)
            )
            mean, _ = coarsen(mean_volume[None].to(device), mask[:1], mim.output_stride)
            guesses = (own, other.roll(1, 0), mean.expand_as(target))
            for errors, guess in zip(found, guesses, strict=True):
                for row in range(len(batch)):
                    total, count = hidden_error(
                        guess[row : row + 1], target[row : row + 1], weight[row : row + 1]
                    )
                    errors.append(float(total / count))
    if not found[0]:
        raise ValueError(
            f"reports can only be swapped between two patients or more, got {len(dataset)}; give "
            "more held-out patients"
        )
    return ReconstructionErrors(*map(np.array, found))
