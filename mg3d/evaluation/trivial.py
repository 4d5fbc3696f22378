"""The loss of a trivial model beside each objective's own, on the same held-out batches.

A loss says little alone. Each objective names its trivial model and computes that model's loss
(`Objective.baseline`); here the values of all batches are averaged, as those of the losses are.
"""

from dataclasses import dataclass

import torch

from mg3d.config import PretrainConfig
from mg3d.data.dataset import VolumeReportDataset
from mg3d.modes import evaluating
from mg3d.objectives import OBJECTIVES
from mg3d.objectives.objective import Baseline
from mg3d.training.heldout import held_out_batches
from mg3d.training.patients import known_of
from mg3d.training.step import Pretraining, reads

BASELINES = {name: kind.trivial_model for name, kind in OBJECTIVES.items()}  # name -> description


@dataclass(frozen=True)
class Trivial:
    """Baselines of the active objectives, by name; means over held-out batches.

    SSM has a second, stronger baseline: the best cosine that is the same for all pairs. Most pairs
    of sentences differ, so predicting a low cosine for every pair costs little.
    """

    losses: dict[str, float]  # of the trivial model
    unrelated: dict[str, float]  # "ssm": of the stronger baseline
    spread: dict[str, float]  # "sfr", "ssm": 0 if all features have the same direction, up to 1


@torch.no_grad()
def trivial_losses(
    pretraining: Pretraining,
    train: VolumeReportDataset,
    val: VolumeReportDataset,
    config: PretrainConfig,
) -> Trivial:
    """Measure every active objective's baseline on held-out patients.

    SFR's and SSM's baselines depend on what the model compares, so they are those of `pretraining`
    with its current weights.

    Args:
        pretraining: the trained model.
        train: patients whose mean volume and word counts the trivial models know.
        val: held-out patients.
        config: of the run.
    """
    device = next(pretraining.parameters()).device
    text = pretraining.model.text_encoder
    known = known_of(train, text.vocabulary_size)
    found: dict[str, list[Baseline]] = {}
    with evaluating(pretraining):
        for batch in held_out_batches(val, config, text, device):
            measured = {
                name: objective
                for name, objective in pretraining.objectives.items()
                if objective.min_patients <= len(batch)
            }
            features = pretraining.model(batch, needed=reads(measured.values()))
            for name, objective in measured.items():
                found.setdefault(name, []).append(objective.baseline(features, batch, known))
    return Trivial(
        {name: _mean([item.loss for item in items]) for name, items in found.items()},
        _means_of("unrelated", found),
        _means_of("spread", found),
    )


def _means_of(what: str, found: dict[str, list[Baseline]]) -> dict[str, float]:
    """Means of a value that only some objectives have."""
    values = {name: [getattr(item, what) for item in items] for name, items in found.items()}
    return {name: _mean(items) for name, items in values.items() if None not in items}


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)
