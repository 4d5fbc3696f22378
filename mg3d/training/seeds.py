"""Random numbers as a function of the seed and the step, so that a run can be resumed."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


@contextmanager
def random_of_step(seed: int, step: int, draw: int, device: torch.device) -> Iterator[None]:
    """Seed the random numbers that layers draw inside the block (dropout) from seed and step.

    Args:
        seed: of the run.
        step: number of the step.
        draw: number of the micro-batch in the step, over all processes.
        device: of the layers.
    """
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        # draw + 1: numpy gives (seed, step, 0) and (seed, step) the same state, and (seed, step)
        # seeds augmentation and masks
        torch.manual_seed(seed_of(seed, step, draw + 1))
        yield


def seed_of(*numbers: int) -> int:
    """One seed from several numbers, without the collisions of adding them up."""
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])
