"""In which order patients are shown: a function of the seed and the step, and of nothing else.

That is why a run can be stopped and continued, and spread over processes, without a number
changing.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from torch.utils.data import Sampler


class StepSampler(Sampler[list[int]]):
    """The volumes of every step from `first_step` on; each epoch shows every patient once.

    Of a patient with several volumes one is drawn per epoch. Patients that do not fill a last batch
    are left for another epoch's order, so that every batch has the same number and no patient is
    twice in one.

    Args:
        volumes_of: for every patient, the indices of its volumes in the data set.
        batch_size: patients per step, over all processes; at most as many as there are.
        seed: of the run.
        first_step: 0, or where a continued run goes on.
        last_step: the run's number of steps.
        rank: of this process.
        world: number of processes; each gets an equal, contiguous part of the batch.
        parts: micro-batches each process splits its part into.
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
        """Whole batches in one pass over the patients."""
        return len(self.volumes_of) // self.batch_size

    def volumes_at(self, step: int) -> np.ndarray:
        """Volumes of the whole batch of one step, over all processes; one per patient."""
        epoch, position = divmod(step, self.steps_per_epoch)
        numbers = np.random.default_rng([self.seed, epoch])
        order = numbers.permutation(len(self.volumes_of))
        draws = numbers.random(len(self.volumes_of))
        patients = order[position * self.batch_size : (position + 1) * self.batch_size]
        return np.array(
            [self.volumes_of[p][int(draws[p] * len(self.volumes_of[p]))] for p in patients]
        )

    def __len__(self) -> int:
        """Micro-batches this process will see."""
        return len(self.steps) * self.parts

    def __iter__(self) -> Iterator[list[int]]:
        """This process's micro-batches, step after step."""
        for step in self.steps:
            own = np.array_split(self.volumes_at(step), self.world)[self.rank]
            for part in np.array_split(own, self.parts):
                yield part.tolist()
