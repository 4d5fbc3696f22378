"""The batches of pre-training: patients, augmentation and masks as functions of the step number."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor
from torch.utils.data import DataLoader

from mg3d.config import PretrainConfig, change
from mg3d.data.batch import Batch, collate
from mg3d.data.dataset import VolumeReportDataset
from mg3d.data.form import PreparedForm
from mg3d.objectives.objective import TrainingPatients
from mg3d.text.encoder import TextEncoder
from mg3d.training.devices import Devices
from mg3d.training.sampler import StepSampler
from mg3d.training.seeds import seed_of
from mg3d.training.step import Pretraining, hide


@dataclass(frozen=True)
class Shown:
    """A micro-batch of one step, augmented but not masked."""

    batch: Batch
    generator: torch.Generator  # of the step, in the same state on every process; draws the masks
    first: int  # index of its first patient in the batch over all processes


def load_patients(
    config: PretrainConfig, folder: Path, tokenizer: object
) -> tuple[VolumeReportDataset, VolumeReportDataset]:
    """Training and held-out patients of a prepared folder.

    Raises:
        ValueError: if the data were prepared on another grid than the run's, or for another HU
            window.
    """
    grid = config.grid
    expected = PreparedForm.of_grid(grid.volume_shape, grid.spacing_mm, grid.crop, grid.hu_window)
    train, val = (
        VolumeReportDataset(
            folder,
            split,
            tokenizer,
            max_tokens=config.network.max_tokens,
            volume_shape=grid.volume_shape,
            expected=expected,
            report_cut=config.network.report_cut,
            text_encoder=config.network.text_encoder,
        )
        for split in ("train", "val")
    )
    return train, val


def fit_batch(
    config: PretrainConfig, num_patients: int, processes: int
) -> tuple[PretrainConfig, list[str]]:
    """Reduce the batch size to the number of patients; returns the settings and a message.

    Args:
        config: of the run.
        num_patients: for training.
        processes: that share a batch.

    Raises:
        ValueError: if there are fewer patients than processes times micro-batches.
    """
    batch_size, accumulation = config.optimisation.batch_size, config.optimisation.accumulation
    if batch_size <= num_patients:
        return config, []
    unit = processes * accumulation
    fitting = num_patients // unit * unit
    if not fitting:
        raise ValueError(
            f"{num_patients} training patients cannot fill {processes} processes times "
            f"{accumulation} micro-batches; use fewer of them, or more patients"
        )
    note = f"batch_size {batch_size} -> {fitting}: there are {num_patients} training patients"
    return change(config, batch_size=fitting), [note]


def taught_by(
    pretraining: Pretraining, config: PretrainConfig
) -> tuple[dict[str, float], list[str]]:
    """Weights of the objectives that a micro-batch has enough patients for, and a line on others.

    Args:
        pretraining: the objectives of the run.
        config: of the run, with a batch that the patients fill.

    Raises:
        ValueError: if no objective is left.
    """
    optimisation, weights = config.optimisation, config.weights.active()
    patients = optimisation.batch_size // optimisation.accumulation
    needed = {name: item.min_patients for name, item in pretraining.objectives.items()}
    left_out = [name for name in weights if needed.get(name, 1) > patients]
    if not left_out:
        return weights, []
    why = (
        f"{', '.join(left_out)} compare patients with one another, and a micro-batch (batch_size "
        f"{optimisation.batch_size} / accumulation {optimisation.accumulation}) has {patients}"
    )
    if len(left_out) == len(weights):
        raise ValueError(f"{why}; take a larger batch_size, or a smaller accumulation")
    return {n: w for n, w in weights.items() if n not in left_out}, [f"left out: {why}"]


def unread_words(dataset: VolumeReportDataset, tokenizer: Any) -> list[str]:
    """A line where more than 1 % of the words are unknown to the tokenizer: they all read alike.

    Reports in another language or script than the text encoder's fit into any number of tokens,
    and say nothing.

    Args:
        dataset: its reports are tokens already.
        tokenizer: that made them.
    """
    unknown = getattr(tokenizer, "unk_token_id", None)
    words = torch.cat([report.tokens[report.word >= 0] for report in dataset.reports])
    count = 0 if unknown is None else int((words == unknown).sum())
    if count * 100 <= len(words):
        return []
    return [
        f"reports: {count} of {len(words)} tokens are unknown to the tokenizer and read as one and "
        "the same word; take a text encoder for the language of the reports"
    ]


def shown_batches(
    train: VolumeReportDataset, config: PretrainConfig, pad_token: int, devices: Devices
) -> Callable[[range], Iterator[Shown]]:
    """A function that yields this process's augmented micro-batches of a range of steps.

    Args:
        train: patients to learn from.
        config: of the run.
        pad_token: of the tokenizer.
        devices: how many processes share a batch, and which of them this is.
    """

    def batches(steps: range) -> Iterator[Shown]:
        sampler = StepSampler(
            train.volumes_of,
            config.optimisation.batch_size,
            seed=config.run.seed,
            first_step=steps.start,
            last_step=steps.stop,
            rank=devices.rank,
            world=devices.world,
            parts=devices.accumulation,
        )
        loader = DataLoader(
            train,
            batch_sampler=sampler,
            collate_fn=collate(pad_token),
            num_workers=config.compute.workers,
        )
        return jittered(iter(loader), steps)

    def jittered(whole: Iterator[Batch], steps: range) -> Iterator[Shown]:
        for step in steps:
            for part in range(devices.accumulation):
                generator = torch.Generator().manual_seed(seed_of(config.run.seed, step))
                batch = next(whole)
                first = (devices.rank * devices.accumulation + part) * len(batch)
                yield Shown(
                    batch.jitter(config.augmentation, generator, first=first), generator, first
                )

    return batches


def hidden_batches(
    train: VolumeReportDataset, config: PretrainConfig, text: TextEncoder, devices: Devices
) -> Callable[[range], Iterator[Batch]]:
    """A function that yields this process's micro-batches of a range of steps, masked.

    Args:
        train: patients to learn from.
        config: of the run.
        text: the frozen text encoder, which knows its special tokens.
        devices: how many processes share a batch, and which of them this is.
    """
    shown = shown_batches(train, config, text.pad_token, devices)

    def batches(steps: range) -> Iterator[Batch]:
        return (hide(s.batch, config, text, s.generator, first=s.first) for s in shown(steps))

    return batches


def known_of(train: VolumeReportDataset, vocabulary_size: int) -> TrainingPatients:
    """What heads and trivial baselines may know of these training patients."""
    return TrainingPatients(train.mean_volume, lambda: token_counts(train, vocabulary_size))


def token_counts(dataset: VolumeReportDataset, vocabulary_size: int) -> Int[Tensor, " V"]:
    """How often each token occurs in the training reports, one report per patient."""
    tokens = [
        dataset.reports[row].tokens[dataset.reports[row].word >= 0] for row in dataset.first_volumes
    ]
    return torch.bincount(torch.cat(tokens), minlength=vocabulary_size)
