"""Do SFR's two networks collapse? They are trained alone, on the features of a frozen model.

With a target that is trained too, as released, both networks can agree on one direction for every
sentence: the loss falls to 0, and so does the spread of the targets. See `mg3d.objectives.sfr`.
"""

from dataclasses import dataclass

import torch
from torch import nn

from mg3d.data.batch import Batch
from mg3d.model import Features
from mg3d.objectives.collapse import feature_spread
from mg3d.objectives.sfr import SFR
from mg3d.training.fit import fit
from mg3d.training.run_log import SILENT

RATE = 3e-3


@dataclass(frozen=True)
class HeadHistory:
    """One number per step, taken before the step."""

    loss: list[float]  # sum over a report's sentences, mean over patients
    spread: list[float]  # of the targets' directions: 0 if all are the same
    sfr: SFR  # as trained


def train_sfr_heads(
    features: Features,
    batch: Batch,
    *,
    learn_target: bool,
    steps: int = 200,
    seed: int = 0,
) -> HeadHistory:
    """Train the two networks of SFR on one batch, from fresh weights.

    Args:
        features: of the batch, with `repaired_words` and `embedded_sentences`; they stay as they
            are.
        batch: with hidden words.
        learn_target: whether the target's network is trained, as released.
        steps: of training.
        seed: of the weights; the global generator is left as it was.

    Raises:
        ValueError: if the batch has no hidden words, or there is no step to train.
    """
    if steps < 1 or features.repaired_words is None:
        raise ValueError(
            "the networks are trained for at least 1 step on a batch with hidden words, got "
            f"{steps} steps and {'no ' * (features.repaired_words is None)}repaired words; call "
            "batch.hide(..., words=True) before the model"
        )
    width = features.embedded_sentences.shape[-1]
    sfr = _fresh(features, width, learn_target, seed)

    def step(module: nn.Module, _: int) -> dict[str, torch.Tensor]:
        with torch.no_grad():
            spread = feature_spread(sfr.compare(features, batch).target)
        return {"sfr": module(features, batch), "spread": spread}

    run = fit(
        sfr,
        step,
        lambda numbers: numbers,  # every step shows the same batch
        torch.optim.AdamW([p for p in sfr.parameters() if p.requires_grad], lr=RATE),
        steps=steps,
        seed=seed,
        weights={"sfr": 1.0},  # the spread is recorded only
        log=SILENT,
    )
    return HeadHistory(run.history.column("sfr")[1], run.history.column("spread")[1], sfr)


def _fresh(features: Features, width: int, learn_target: bool, seed: int) -> SFR:
    assert features.repaired_words is not None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return SFR(features.repaired_words.shape[-1], width, learn_target=learn_target)
