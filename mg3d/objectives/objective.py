"""An objective: a loss, with the head it needs and what the rest of the project asks about it.

A new objective is one file with a subclass of `Objective`, one line in `OBJECTIVES`, one weight in
`LossWeights`, and a lesson. What the model computes, what is hidden from it, the baseline and the
figures all follow from the attributes and methods below.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Literal

from jaxtyping import Float, Int
from torch import Tensor, nn

from mg3d.config import PretrainConfig
from mg3d.data.batch import Batch
from mg3d.model import MG3D, Features


@dataclass(frozen=True)
class TrainingPatients:
    """What heads and trivial baselines may know of the training patients, computed at first use.

    Args:
        compute_mean_volume: reads all volumes.
        compute_token_counts: reads all reports.
    """

    compute_mean_volume: Callable[[], Tensor]
    compute_token_counts: Callable[[], Tensor]

    @cached_property
    def mean_volume(self) -> Float[Tensor, "1 H W D"]:
        """Mean over training patients, 0 to 1 over the HU window."""
        return self.compute_mean_volume()

    @cached_property
    def token_counts(self) -> Int[Tensor, " V"]:
        """Occurrences of each token id in the training reports."""
        return self.compute_token_counts()


@dataclass(frozen=True)
class Baseline:
    """What an objective's loss on one batch is compared with."""

    loss: float  # of the trivial model
    unrelated: float | None = None  # SSM: of the best cosine that is the same for all pairs
    spread: float | None = None  # of the objective's features: 0 if they all point the same way


class Objective(nn.Module, ABC):
    """A loss on `Features` and `Batch`; its head learns together with the model.

    Attributes:
        label: heads its panel in figures.
        trivial_model: the model whose loss `baseline` gives, in words.
        reads: the fields of `Features` it reads. The model computes these and, unless another
            objective needs them, no others.
        hides: what must be hidden from the model: "voxels", "words", both or nothing.
        min_patients: of the global batch; a smaller batch leaves this objective out.
    """

    label: ClassVar[str]
    trivial_model: ClassVar[str]
    hides: ClassVar[frozenset[Literal["voxels", "words"]]] = frozenset()
    min_patients: ClassVar[int] = 1
    reads: frozenset[str]

    @classmethod
    @abstractmethod
    def from_config(cls, config: PretrainConfig, model: MG3D) -> "Objective":
        """Build it with the settings of a run.

        Args:
            config: the run's.
            model: the run's; tells sizes that settings do not, such as the text encoder's width.
        """

    @abstractmethod
    def forward(self, features: Features, batch: Batch) -> Float[Tensor, ""]:
        """The loss: a mean over the global batch."""

    @abstractmethod
    def baseline(self, features: Features, batch: Batch, train: TrainingPatients) -> Baseline:
        """The loss of the trivial model on this batch.

        Args:
            features: of the batch, as the model computes them.
            batch: held-out patients, with the same parts hidden as for the loss.
            train: what the trivial model may have learned.
        """

    def start(self, train: TrainingPatients) -> None:
        """Take from the training patients what the head begins with; most objectives need nothing.

        Called once, before the first step of a new run.
        """

    def compile_parts(self) -> None:
        """Apply torch.compile to slow parts, in place; a head of a few layers has none."""
