"""How hard is the phantom? Supervised training of the same encoder, beside the untrained one.

`python -m mg3d.experiments.difficulty --data DIR --seconds 135` trains the preset's encoder on the
labels for as long as pre-training took, with the same batches and jitter, and prints one JSON line.
Both encoders, before and after, go through the protocols that pre-trained ones go through: linear
probe and report-to-volume retrieval with an alignment head, on held-out patients.
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from mg3d.config import PretrainConfig, change, find_preset
from mg3d.data.dataset import VolumeReportDataset
from mg3d.encoders import Encoder
from mg3d.evaluation.summary import evaluate, summarise
from mg3d.training.checkpoint import Progress
from mg3d.training.devices import start_devices
from mg3d.training.fit import Fitted, fit
from mg3d.training.patients import load_patients, shown_batches
from mg3d.training.run_folder import RunFolder
from mg3d.training.run_log import RunLog
from mg3d.training.step import build_pretraining


class Classifier(nn.Module):
    """An encoder with a linear head on the mean of its last map: one logit a label.

    Args:
        encoder: learns as well.
        labels: how many.
        seed: of the head's first weights.
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
    """Train an encoder on the labels, in place, for so many seconds.

    Args:
        encoder: left on the device it was trained on.
        train: patients with labels.
        config: gives batch size, learning rate, jitter and seed.
        seconds: of training; the learning rate falls to 0 with the time left.
        folder: of the run; None: nothing is written.
        stop_after: stop (and save) after this many steps, as if interrupted.
        log: who is told.
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


def main() -> None:
    """Read the command line; see the module's first lines."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="prepared folder")
    parser.add_argument("--preset", default="tiny")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=135.0, help="of supervised training")
    arguments = parser.parse_args()
    preset = find_preset(arguments.preset)
    config = change(preset, seed=arguments.seed, weights=preset.weights.without("clip"))
    pretraining, device = build_pretraining(config), start_devices().device
    pretraining.to(device)
    pretraining.model.text_encoder.to(device)
    train, val = load_patients(config, arguments.data, pretraining.model.text_encoder.tokenizer)
    before = evaluate(pretraining, train, val, seed=config.run.seed)
    quiet = RunLog(line=lambda _: None, progress=False)
    steps = supervise(pretraining.model.encoder, train, config, arguments.seconds, log=quiet).steps
    after = evaluate(pretraining, train, val, seed=config.run.seed)
    line = {"seed": config.run.seed, "patients": len(train.patients), "steps": steps}
    line |= {"seconds": arguments.seconds, "threads": torch.get_num_threads()}
    print(json.dumps(line | summarise(after, before, seed=config.run.seed)))


if __name__ == "__main__":
    main()
