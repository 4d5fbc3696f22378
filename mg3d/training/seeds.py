"""Random numbers as a function of the seed and the step, so that a run can stop and go on."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


@contextmanager
def random_of_step(seed: int, step: int, draw: int, device: torch.device) -> Iterator[None]:
    """Make what layers draw inside the block (dropout) a function of seed and step.

    Args:
        seed: of the run.
        step: number of the step.
        draw: tells the micro-batches of a step, over all processes, apart.
        device: where the layers are.
    """
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        # numpy takes (seed, step, 0) for (seed, step), which is the seed of the step's batch
        torch.manual_seed(seed_of(seed, step, draw + 1))
        yield


def seed_of(*numbers: int) -> int:
    """One seed from several numbers, without the collisions of adding them up."""
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])
