"""Upper bound of what MLM can learn from the volume: the encoder is replaced by the true labels.

An oracle encoder that knows every finding gives one visual token per finding (a fixed random
vector, zero if the finding is absent). MLM alone is trained on them, with gated and with softmax
attention, and with few and with many hidden words. The rise of its loss when the tokens are
another patient's measures how much of the labels reaches the word predictions: gated attention
passes one number per word, softmax attention a whole vector.

`python -m mg3d.experiments.mlm_oracle --data DIR --seeds 0 1` prints one row per run and score.
"""

import argparse
from collections.abc import Iterator
from dataclasses import asdict
from itertools import product
from pathlib import Path

import torch
from torch import Tensor

from mg3d.config import AugmentationSettings, PretrainConfig, change, find_preset
from mg3d.data.batch import Batch
from mg3d.data.dataset import VolumeReportDataset
from mg3d.data.manifest import read_manifest
from mg3d.encoders import Encoder
from mg3d.evaluation.metrics import Score
from mg3d.evaluation.other_volume import mlm_rise
from mg3d.experiments.command import grid_parser, run_experiment
from mg3d.experiments.grid import Point, Scores
from mg3d.experiments.scored import config_of, settings_of
from mg3d.model import MG3D, build_text_encoder
from mg3d.objectives.mlm import MLM
from mg3d.text.encoder import TextEncoder
from mg3d.training.devices import start_devices
from mg3d.training.fit import fit
from mg3d.training.heldout import held_out_losses
from mg3d.training.optimiser import build_optimiser, rate_of
from mg3d.training.patients import shown_batches
from mg3d.training.run_folder import RunFolder
from mg3d.training.run_log import SILENT
from mg3d.training.step import Pretraining, hide, pretrain_step

MODULE = "mg3d.experiments.mlm_oracle"


class LabelPatients(VolumeReportDataset):
    """Patients whose "volume" holds their labels (unknown: 0) and a constant 1."""

    def load_volume(self, row: int) -> Tensor:
        """Labels of one row, shape (1, 1, 1, C + 1)."""
        labels = self.rows.loc[row, list(self.label_names)].to_numpy(dtype=float, copy=True)
        known = torch.nan_to_num(torch.from_numpy(labels)).float()
        return torch.cat([known, torch.ones(1)])[None, None, None]


class Oracle(Encoder):
    """An encoder without weights: token i is label i times a fixed random vector.

    Args:
        count: number of labels, the constant included.
        width: of a token.
    """

    directions: Tensor

    def __init__(self, count: int, width: int):
        super().__init__()
        self.width, self.stride = width, 1
        directions = torch.randn(width, count, generator=torch.Generator().manual_seed(0))
        self.register_buffer("directions", directions)

    def forward(self, volume: Tensor) -> tuple[Tensor, ...]:
        """One map of (B, width, 1, 1, count)."""
        return (volume * self.directions[None, :, None, None],)


def patients(
    data: Path, split: str, config: PretrainConfig, text: TextEncoder, labels: int
) -> LabelPatients:
    """The patients of one split, with labels as volumes."""
    shape = (1, 1, labels + 1)
    return LabelPatients(
        data,
        split,
        text.tokenizer,
        max_tokens=config.network.max_tokens,
        volume_shape=shape,
        report_cut=config.network.report_cut,
    )


def oracle_pretraining(config: PretrainConfig, text: TextEncoder, labels: int) -> Pretraining:
    """MLM alone, with the oracle as its encoder."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.run.seed)
        model = MG3D(
            Oracle(labels + 1, config.network.encoder_settings["channels"][-1]),
            text,
            token_grid=(1, 1, labels + 1),
            dim=config.network.dim,
            fusion_layers=config.network.fusion_layers,
            attention=config.network.attention,
        )
        return Pretraining(model, {"mlm": MLM(config.network.dim, text.vocabulary_size)})


def score_oracle(point: Point, folder: Path) -> Scores:
    """Train MLM on the oracle; held-out loss, and its rise with another patient's labels."""
    config = config_of(point)
    text = build_text_encoder(config)
    labels = len(read_manifest(point.data).labels)
    train, val = (patients(point.data, split, config, text, labels) for split in ("train", "val"))
    learner, devices = oracle_pretraining(config, text, labels), start_devices()
    text.to(devices.device)

    # Augmentation is for voxels; labels stay as they are.
    still = change(config, augmentation=AugmentationSettings())
    shown = shown_batches(train, still, text.pad_token, devices)

    def batches(steps: range) -> Iterator[Batch]:
        for step, item in zip(steps, shown(steps), strict=True):
            generator = torch.Generator().manual_seed(config.run.seed * 10**6 + step)
            yield hide(item.batch, config, text, generator)

    fit(
        learner,
        pretrain_step,
        batches,
        build_optimiser(learner, config),
        steps=config.optimisation.total_steps,
        devices=devices,
        learning_rate=rate_of(config),
        folder=RunFolder(folder, settings=asdict(config), resume=True, save_every=200),
        log=SILENT,
    )
    rise = mlm_rise(learner, val, config, devices.device, seed=config.run.seed)
    scores: dict[str, Score | float | int] = {
        "loss_mlm_final": held_out_losses(learner, val, config, devices.device)["mlm"],
        "training_patients": len(train.patients),
        "held_out_patients": len(val.patients),
    }
    return scores | ({"mlm_rise": rise} if rise else {})


def oracle_points(asked: argparse.Namespace) -> list[Point]:
    """One run per seed, attention and share of hidden words."""
    preset = find_preset(asked.preset)
    preset = change(preset, weights=preset.weights.only("mlm"))
    points = []
    for seed, attention, ratio in product(
        asked.seeds, ("gated", "softmax"), (0.15, preset.masking.word_mask_ratio)
    ):
        steps = asked.steps or preset.optimisation.total_steps
        config = change(
            preset, seed=seed, total_steps=steps, attention=attention, word_mask_ratio=ratio
        )
        settings, free = settings_of(config)
        points.append(
            Point(
                settings={"kind": "MLM on labels", "config": settings},
                free=free,
                data=asked.data,
                columns={
                    **{"attention": attention, "word_mask_ratio": ratio},
                    **{"seed": seed, "steps": steps},
                },
            )
        )
    return points


def main(arguments: list[str] | None = None) -> None:
    """Read the command line; see the module's first lines."""
    run_experiment(grid_parser(MODULE, __doc__), oracle_points, score_oracle, arguments)


if __name__ == "__main__":
    main()
