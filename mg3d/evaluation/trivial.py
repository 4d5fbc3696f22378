"""What each loss is worth: the best a model could do that learned nothing worth having.

A loss without its trivial baseline says little. MIM competes with the mean training volume, MLM
with the unigram model, the contrastive losses with chance, SSM with features that are all the
same, SFR with one prediction for all sentences. All are measured on the same held-out batches, with
the same hidden blocks and words, as the losses themselves.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

from mg3d.config import PretrainConfig
from mg3d.data.dataset import VolumeReportDataset
from mg3d.objectives.collapse import feature_spread
from mg3d.objectives.contrastive import chance_loss
from mg3d.objectives.mim import mean_volume_loss
from mg3d.objectives.mlm import unigram_loss
from mg3d.objectives.sfr import SFR, constant_loss
from mg3d.objectives.ssm import SSM, collapsed_loss, identical_loss
from mg3d.training.heldout import held_out_batches
from mg3d.training.step import Pretraining

BASELINES = {
    "mim": "the mean training volume",
    "mlm": "the unigram model",
    "sfr": "one prediction for every sentence",
    "cml": "chance",
    "dfa": "chance",
    "ssm": "collapsed: all features the same",
    "clip": "chance",
}


@dataclass(frozen=True)
class Trivial:
    """Baselines of the active objectives, and whether features are still spread out.

    SSM has a second, stronger baseline: all features unrelated (in truth: the best cosine that is
    the same for all pairs). Few pairs of sentences agree, so it is cheap to say that none do.
    """

    losses: dict[str, float]  # objective -> loss of its baseline on held-out patients
    unrelated: dict[str, float]  # "ssm": loss of the stronger baseline
    spread: dict[str, float]  # "sfr", "ssm": 0 if all features point the same way, up to 1


@torch.no_grad()
def trivial_losses(
    pretraining: Pretraining,
    train: VolumeReportDataset,
    val: VolumeReportDataset,
    config: PretrainConfig,
) -> Trivial:
    """Measure every active objective's baseline on held-out patients, mean over batches.

    SFR's and SSM's baselines depend on what the model compares, so they are those of `pretraining`
    as it is now.

    Args:
        pretraining: the trained model.
        train: patients whose mean volume and word counts the baselines know.
        val: held-out patients.
        config: of the run.
    """
    was_training = pretraining.training
    pretraining.eval()
    objectives = pretraining.objectives
    sfr, ssm = pretraining.find(SFR), pretraining.find(SSM)
    device = next(pretraining.parameters()).device
    text = pretraining.model.text_encoder
    average = train.mean_volume().to(device) if "mim" in objectives else None
    counts = token_counts(train, text.vocabulary_size).to(device)
    losses: dict[str, list[float]] = {}
    unrelated: dict[str, list[float]] = {}
    spread: dict[str, list[float]] = {}
    for batch in held_out_batches(val, config, text, device):
        found: dict[str, Tensor | float] = dict.fromkeys(
            ("cml", "dfa", "clip"), chance_loss(len(batch))
        )
        features = pretraining.model(batch)
        if average is not None:
            assert batch.voxel_mask is not None
            found["mim"] = mean_volume_loss(
                average, batch.volume, batch.voxel_mask, config.objectives.mim_output_stride
            )
        if "mlm" in objectives:
            assert batch.word_mask is not None
            found["mlm"] = unigram_loss(counts, batch.tokens, batch.word_mask)
        if sfr is not None:
            guesses = sfr.compare(features, batch)
            found["sfr"] = constant_loss(guesses.target, len(batch))
            spread.setdefault("sfr", []).append(float(feature_spread(guesses.repaired)))
        if ssm is not None and len(batch) > 1:
            pairs = ssm.compare(features, batch)
            found["ssm"] = identical_loss(pairs)
            unrelated.setdefault("ssm", []).append(float(collapsed_loss(pairs)))
            real = ~batch.sentence_padding
            visual = ssm.visual(features.informed_sentences[real])
            spread.setdefault("ssm", []).append(float(feature_spread(visual)))
        for name in objectives:
            if name in found:
                losses.setdefault(name, []).append(float(found[name]))
    pretraining.train(was_training)
    return Trivial(_means(losses), _means(unrelated), _means(spread))


def token_counts(dataset: VolumeReportDataset, vocabulary_size: int) -> Int[Tensor, " V"]:
    """How often each token stands in the reports of every patient's first volume."""
    tokens = [
        dataset.reports[row].tokens[dataset.reports[row].word >= 0] for row in dataset.first_volumes
    ]
    return torch.bincount(torch.cat(tokens), minlength=vocabulary_size)


def _means(values: dict[str, list[float]]) -> dict[str, float]:
    return {name: sum(items) / len(items) for name, items in values.items()}
