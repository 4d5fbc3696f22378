"""The training batches of a task: cases, crops and augmentation as functions of the step number."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from torch.utils.data import DataLoader, Dataset

from mg3d.data.augment import jitter_volume
from mg3d.evaluation.tasks.settings import TaskConfig
from mg3d.evaluation.tasks.task import Cases, Task
from mg3d.training.devices import Devices
from mg3d.training.seeds import seed_of


def training_patients(cases: Cases, config: TaskConfig) -> list[str]:
    """The patients that are trained on: all, or as many as the settings say, drawn by the seed.

    Fewer are the first ones of more, so that curves over their number are nested.

    Raises:
        ValueError: if there are not that many.
    """
    patients, wanted = cases.patients(), config.tuning.num_patients
    if wanted > len(patients):
        raise ValueError(
            f"num_patients {wanted} is more than the {len(patients)} training patients of "
            f"{cases.split.folder}; choose at most that many, or 0 for all"
        )
    order = np.random.default_rng([config.run.seed, 11]).permutation(len(patients))
    return [patients[i] for i in sorted(order[: wanted or None])]


class Order:
    """Which cases a step shows; a function of the seed and the step only.

    Args:
        task: decides what an epoch is.
        cases: of training.
        numbers: of the cases that take part.
        batch_size: cases of a step, over all processes; at most the length of an epoch.
        seed: of the run.
    """

    def __init__(
        self, task: Task, cases: Cases, numbers: Int[np.ndarray, " N"], batch_size: int, seed: int
    ):
        self.cases, self.batch_size = cases, batch_size
        self.epoch: Callable[[int], Int[np.ndarray, " E"]] = lru_cache(maxsize=2)(
            lambda epoch: task.epoch(cases, numbers, np.random.default_rng([seed, epoch]))
        )

    def at(self, step: int) -> list[tuple[int, int]]:
        """(case, epoch) of every case of one step's batch, over all processes."""
        per_epoch = len(self.epoch(0)) // self.batch_size
        epoch, position = divmod(step, per_epoch)
        chosen = self.epoch(epoch)[position * self.batch_size : (position + 1) * self.batch_size]
        return [(int(number), epoch) for number in chosen]


class Drawn(Dataset[Any]):
    """Training samples by (case, epoch): another crop and another augmentation in every epoch.

    Args:
        cases: of training.
        config: of the run.
    """

    def __init__(self, cases: Cases, config: TaskConfig):
        self.cases, self.config = cases, config

    def __len__(self) -> int:
        """Number of cases."""
        return len(self.cases)

    def __getitem__(self, index: tuple[int, int]) -> Any:
        """One sample; its volume is augmented."""
        number, epoch = index
        item = self.cases.items[(number, epoch) if self.cases.draws else number]
        jitter = self.config.augmentation
        if not jitter.active:
            return item
        seed = seed_of(self.config.run.seed, number, epoch + 1)
        generator = torch.Generator().manual_seed(seed)
        return replace(item, volume=jitter_volume(item.volume, jitter, generator))


def task_batches(
    task: Task, cases: Cases, numbers: Int[np.ndarray, " N"], devices: Devices
) -> tuple[Callable[[range], Iterator[Any]], int]:
    """Batches for `fit`, and the batch size over all processes.

    The batch size is reduced where an epoch is shorter.

    Raises:
        ValueError: if it cannot be divided over processes and micro-batches.
    """
    config = task.config
    epoch = task.epoch(cases, numbers, np.random.default_rng(0))
    parts = devices.world * devices.accumulation
    size = min(config.finetune.batch_size, len(epoch) // parts * parts)
    if size < 1 or size % parts:
        raise ValueError(
            f"batch_size {config.finetune.batch_size} over an epoch of {len(epoch)} cases must be "
            f"divisible by processes ({devices.world}) times accumulation "
            f"({devices.accumulation}); choose a multiple of {parts}"
        )
    order = Order(task, cases, numbers, size, config.run.seed)

    def batches(steps: range) -> Iterator[Any]:
        shown = [
            part.tolist()
            for step in steps
            for part in np.array_split(
                np.array_split(np.array(order.at(step)), devices.world)[devices.rank],
                devices.accumulation,
            )
        ]
        loader = DataLoader(
            Drawn(cases, config),
            batch_sampler=[[(case, epoch) for case, epoch in part] for part in shown],
            collate_fn=cases.collate,
            num_workers=config.compute.workers,
            generator=torch.Generator(),  # else it draws from torch's global one
        )
        yield from loader

    return batches, size
