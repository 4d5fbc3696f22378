"""The order of patients in training: a function of the seed and the step only.

Therefore a run can be stopped and resumed, or distributed over processes, with the same batches.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from torch.utils.data import Sampler


class StepSampler(Sampler[list[int]]):
    """Batch sampler over steps; an epoch shows each patient at most once, in random order.

    Of a patient with several volumes, one is drawn at random per epoch. A last partial batch of an
    epoch is dropped, so that all batches have the same size and no patient is twice in one.

    Args:
        volumes_of: for every patient, the indices of the patient's volumes in the data set.
        batch_size: patients per step, over all processes; at most the number of patients.
        seed: of the run.
        first_step: 0, or the first step of a resumed run.
        last_step: one past the last step.
        rank: of this process.
        world: number of processes; each gets an equal, contiguous part of the batch.
        parts: number of micro-batches per step and process.
    """

    def __init__(
        self,
        volumes_of: Sequence[np.ndarray],
        batch_size: int,
        *,
        seed: int,
        first_step: int,
        last_step: int,
        rank: int = 0,
        world: int = 1,
        parts: int = 1,
    ):
        num_patients = len(volumes_of)
        if batch_size > num_patients:
            raise ValueError(
                f"batch_size {batch_size} is larger than the {num_patients} training patients; "
                f"choose a batch_size of at most {num_patients}"
            )
        if batch_size % (world * parts):
            raise ValueError(
                f"batch_size {batch_size} must be divisible by processes ({world}) times "
                f"accumulation ({parts}); choose a multiple of {world * parts}"
            )
        self.volumes_of = volumes_of
        self.batch_size = batch_size
        self.seed = seed
        self.steps = range(first_step, last_step)
        self.rank, self.world, self.parts = rank, world, parts

    @property
    def steps_per_epoch(self) -> int:
        """Full batches per epoch."""
        return len(self.volumes_of) // self.batch_size

    def volumes_at(self, step: int) -> np.ndarray:
        """Indices of the volumes of one step's batch, over all processes; one per patient."""
        epoch, position = divmod(step, self.steps_per_epoch)
        # The order is drawn anew from (seed, epoch), so that any step can be computed directly.
        numbers = np.random.default_rng([self.seed, epoch])
        order = numbers.permutation(len(self.volumes_of))
        draws = numbers.random(len(self.volumes_of))
        patients = order[position * self.batch_size : (position + 1) * self.batch_size]
        return np.array(  # draws are in [0, 1): the index is uniform over the patient's volumes
            [self.volumes_of[p][int(draws[p] * len(self.volumes_of[p]))] for p in patients]
        )

    def __len__(self) -> int:
        """Number of micro-batches of this process."""
        return len(self.steps) * self.parts

    def __iter__(self) -> Iterator[list[int]]:
        """Volume indices of this process's micro-batches, step by step."""
        for step in self.steps:
            share = np.array_split(self.volumes_at(step), self.world)[self.rank]
            for part in np.array_split(share, self.parts):
                yield part.tolist()
