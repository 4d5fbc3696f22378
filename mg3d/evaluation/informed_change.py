"""Do sentence-informed features know the volume? How far they move with another patient's volume.

SSM compares features that are called visual: sentence values, each scaled by one gate from the
volume. Here every report is paired with another patient's volume, and the move of its features is
set beside their differences from sentence to sentence.
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
from mg3d.objectives.precision import cosines
from mg3d.objectives.ssm import SSM
from mg3d.training.heldout import held_out_batches
from mg3d.training.step import Pretraining


@dataclass(frozen=True)
class InformedChange:
    """1 - cosine of SSM's features, 0 to 2, a mean over the sentences of each patient."""

    volume: Float[np.ndarray, " P"]  # the same sentence, with another patient's volume
    sentence: Float[np.ndarray, " P"]  # another sentence of the report, with the same volume

    def ratio(self, *, seed: int = 0) -> Score:
        """What the volume changes, as a share of what the sentence changes."""
        return bootstrap(
            lambda p: float(self.volume[p].mean() / self.sentence[p].mean()),
            len(self.volume),
            seed=seed,
        )


@torch.no_grad()
def informed_change(
    pretraining: Pretraining,
    dataset: VolumeReportDataset,
    config: PretrainConfig,
    device: torch.device | str,
) -> InformedChange:
    """Both changes on held-out patients whose reports have at least two sentences.

    Args:
        pretraining: the model and its objectives.
        dataset: held-out patients.
        config: of the run.
        device: where the model is.

    Raises:
        ValueError: if the run has no SSM, or no patient can be measured.
    """
    ssm = pretraining.find(SSM)
    if ssm is None:
        raise ValueError("these weights were trained without SSM; take others")
    whole = replace(config, weights=config.weights.only("ssm"))  # nothing need be hidden
    found: list[tuple[float, float]] = []
    with evaluating(pretraining):
        for batch in held_out_batches(dataset, whole, pretraining.model.text_encoder, device):
            if len(batch) < 2:
                continue
            # Each report gets the volume of the patient before it in the batch.
            swapped = replace(batch, volume=batch.volume.roll(1, 0))
            own, other = (
                pretraining.model(shown, needed={"informed_sentences"}).informed_sentences
                for shown in (batch, swapped)
            )
            for row, real in enumerate(~batch.sentence_padding):
                if int(real.sum()) > 1:
                    found.append(_changes(ssm.visual(own[row, real]), ssm.visual(other[row, real])))
    if not found:
        raise ValueError(
            f"volumes can only be swapped between two patients or more, got {len(dataset)}, with "
            "reports of two sentences or more; give more held-out patients"
        )
    return InformedChange(*np.array(found).T)


def _changes(own: Float[Tensor, "K h"], other: Float[Tensor, "K h"]) -> tuple[float, float]:
    """By the volume and by the sentence, of one patient."""
    count = len(own)
    own, other = own.double(), other.double()  # the change by the volume can be below 1e-6
    by_volume = 1 - cosines(own, other).diagonal().mean()
    among = cosines(own, own)
    by_sentence = 1 - (among.sum() - among.trace()) / (count * (count - 1))
    return float(by_volume), float(by_sentence)
