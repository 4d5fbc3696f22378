"""How hard is the phantom? The encoder trained with supervision, compared with the untrained one.

    python -m mg3d.experiments.difficulty --data DIR --seconds 135 --seeds 0 1 2

trains the preset's encoder on the labels for as long as pre-training took, with the same batches
and augmentation, and prints one row per run and score. The encoder is evaluated before and after by
the protocols used for pre-training: linear probe and report-to-volume retrieval with an alignment
head, on held-out patients.
"""

import argparse
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from mg3d.config import PretrainConfig, change, find_preset
from mg3d.data.dataset import VolumeReportDataset
from mg3d.encoders import Encoder
from mg3d.evaluation.summary import evaluate
from mg3d.experiments.command import grid_parser, run_experiment
from mg3d.experiments.grid import Point, Scores
from mg3d.experiments.scored import config_of, probe_and_retrieval, settings_of
from mg3d.training.checkpoint import Progress
from mg3d.training.devices import start_devices
from mg3d.training.fit import Fitted, fit
from mg3d.training.patients import load_patients, shown_batches
from mg3d.training.run_folder import RunFolder
from mg3d.training.run_log import SILENT, RunLog
from mg3d.training.step import build_pretraining

MODULE = "mg3d.experiments.difficulty"


class Classifier(nn.Module):
    """An encoder with a linear head on its globally averaged last feature map: one logit per label.

    Args:
        encoder: trained together with the head.
        labels: number of labels.
        seed: of the head's initial weights.
    """

    def __init__(self, encoder: Encoder, labels: int, seed: int):
        super().__init__()
        self.encoder = encoder
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.head = nn.Linear(encoder.width, labels)

    def forward(self, volume: Float[Tensor, "B 1 H W D"]) -> Float[Tensor, "B C"]:
        """Logits."""
        logits: Tensor = self.head(self.encoder(volume)[-1].flatten(2).mean(-1))
        return logits


def supervised_step(
    classifier: nn.Module, batch: tuple[Float[Tensor, "B 1 H W D"], Float[Tensor, "B C"]]
) -> dict[str, Tensor]:
    """Binary cross-entropy, mean over patients and labels."""
    volume, labels = batch
    return {"bce": F.binary_cross_entropy_with_logits(classifier(volume), labels)}


def supervise(
    encoder: Encoder,
    train: VolumeReportDataset,
    config: PretrainConfig,
    seconds: float,
    *,
    folder: RunFolder | None = None,
    stop_after: int | None = None,
    log: RunLog | None = None,
) -> Fitted:
    """Train an encoder on the labels, in place, for a given time.

    Args:
        encoder: stays on the device of the training.
        train: patients with labels.
        config: provides batch size, learning rate, augmentation and seed.
        seconds: length of training; the learning rate decays linearly to 0 over this time.
        folder: of the run; None: nothing is written.
        stop_after: stop (and save) after this many steps, as if interrupted.
        log: receives the messages; None: they are printed.
    """
    labels = dict(zip(train.patients, torch.from_numpy(train.labels()).float(), strict=True))
    devices = start_devices()
    shown = shown_batches(train, config, 0, devices)

    def batches(steps: range) -> Iterator[tuple[Tensor, Tensor]]:
        for item in shown(steps):
            target = torch.stack([labels[patient] for patient in item.batch.patient_id])
            yield item.batch.volume, target

    def rate(progress: Progress) -> float:
        left = 1 - progress.seconds / seconds
        # linear warm-up over 50 steps
        return config.optimisation.learning_rate * min(1.0, (progress.step + 1) / 50) * left

    classifier = Classifier(encoder, train.labels().shape[1], config.run.seed)
    return fit(
        classifier,
        supervised_step,
        batches,
        torch.optim.AdamW(classifier.parameters(), weight_decay=config.optimisation.weight_decay),
        steps=10**6,
        seed=config.run.seed,
        devices=devices,
        batch_size=config.optimisation.batch_size,
        learning_rate=rate,
        max_grad_norm=1.0,
        max_seconds=seconds,
        stop_after=stop_after,
        folder=folder,
        log=log,
    )


def supervised_points(asked: argparse.Namespace) -> list[Point]:
    """One run per seed."""
    points = []
    for seed in asked.seeds:
        config = change(find_preset(asked.preset), seed=seed)
        # Some objective must be active; its heads are built but not trained or used.
        config = change(config, weights=config.weights.only("mim"))
        settings, free = settings_of(config)
        points.append(
            Point(
                settings={
                    **{"kind": "supervised", "config": settings, "seconds": asked.seconds},
                    "threads": torch.get_num_threads(),  # more threads: more steps in the same time
                },
                free=free,
                data=asked.data,
                columns={"configuration": "supervised", "seed": seed, "seconds": asked.seconds},
            )
        )
    return points


def score_supervised(point: Point, folder: Path) -> Scores:
    """Train one encoder on the labels; its scores before and after."""
    config, seconds = config_of(point), point.settings["seconds"]
    pretraining, device = build_pretraining(config), start_devices().device
    pretraining.to(device)
    text = pretraining.model.text_encoder
    text.to(device)
    train, val = load_patients(config, point.data, text.tokenizer)
    before = evaluate(pretraining, train, val, seed=config.run.seed)
    fitted = supervise(
        pretraining.model.encoder,
        train,
        config,
        seconds,
        folder=RunFolder(folder, settings=asdict(config), resume=True, save_every=100),
        log=SILENT,
    )
    after = evaluate(pretraining, train, val, seed=config.run.seed)
    return {
        **probe_and_retrieval(after, before, seed=config.run.seed),
        **{f"probe_auroc, {name}": value for name, value in after.probe.per_finding.items()},
        "steps": fitted.steps,
        "training_patients": len(train.patients),
        "held_out_patients": len(val.patients),
    }


def main(arguments: list[str] | None = None) -> None:
    """Read the command line; see the module's first lines."""
    parser = grid_parser(MODULE, __doc__, steps=False)
    parser.add_argument("--seconds", type=float, default=135.0, help="of supervised training")
    run_experiment(parser, supervised_points, score_supervised, arguments)


if __name__ == "__main__":
    main()
