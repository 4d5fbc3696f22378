"""What makes a downstream task: `prepare`, `head`, `loss`, `metrics`. All else is shared.

    prepare(folder, split)  ->  cases: samples, each with its patient and labels
    head(encoder, train)    ->  module: (maps of the encoder, batch) -> output
    loss(output, batch)     ->  losses by name
    metrics(predicted)      ->  scores with intervals over patients, trivial baselines beside them

`mg3d.evaluation.tasks.run` does the rest with any task: initial weights, what is trained, training
by `mg3d.training.fit`, predictions saved per patient, rows of the ledger. The other methods have
defaults that fit a task with one output vector a case.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor, nn

from mg3d.data.split import PreparedSplit
from mg3d.encoders import Encoder
from mg3d.evaluation.metrics import Score
from mg3d.evaluation.tasks.settings import TaskConfig
from mg3d.evaluation.tasks.start import Start
from mg3d.evaluation.tasks.tuning import TaskNetwork, freeze_or_adapt


@dataclass(frozen=True)
class Cases:
    """The cases of one split, as `DataLoader` reads them.

    Attributes:
        split: of the prepared folder.
        items: `items[number]` is a sample; `items[number, draw]` another crop of it, if `draws`.
        case_id: of every case, unique.
        patient_id: of every case.
        collate: samples to a batch, which has `.to(device)`.
        draws: whether items can be drawn anew in every epoch.
        labels: (cases, labels), NaN where unknown; None: the task has no label table.
        label_names: of the columns.
    """

    split: PreparedSplit
    items: Any
    case_id: Sequence[str]
    patient_id: Sequence[str]
    collate: Callable[[Sequence[Any]], Any]
    draws: bool = False
    labels: np.ndarray | None = None
    label_names: tuple[str, ...] = ()

    def __len__(self) -> int:
        """Number of cases."""
        return len(self.case_id)

    def patients(self) -> list[str]:
        """Every patient once, in the order of the table."""
        return list(dict.fromkeys(self.patient_id))

    def numbers_of(self, patients: Sequence[str]) -> Int[np.ndarray, " N"]:
        """Numbers of all cases of some patients."""
        wanted = set(patients)
        return np.array([n for n, p in enumerate(self.patient_id) if p in wanted], dtype=np.int64)


@dataclass(frozen=True)
class Prediction:
    """What was predicted for one case, beside the truth. JSON values; arrays are files."""

    case_id: str
    patient_id: str
    output: Mapping[str, Any]
    truth: Mapping[str, Any]


@dataclass(frozen=True)
class Predicted:
    """What metrics are computed from; read back from the run's files.

    Attributes:
        evaluation: predictions that are scored.
        thresholds: predictions of the set on which thresholds are chosen; empty: there is none.
        known: what `Task.known` took from the training patients.
        folder: of the run; files named in predictions are relative to it.
        seed: of the bootstrap.
    """

    evaluation: Sequence[Prediction]
    thresholds: Sequence[Prediction] = ()
    known: Mapping[str, Any] = field(default_factory=dict)
    folder: Path = Path()
    seed: int = 0


@dataclass(frozen=True)
class Measure:
    """One score, of the model or of a trivial baseline."""

    metric: str
    score: Score
    num_cases: int
    model: str = ""  # "": the model; else the name of a trivial baseline
    note: str = ""


class Task(ABC):
    """A downstream task.

    Args:
        config: of the run; its group `own` is the task's.
        start: initial weights, for tasks that read text; None where only scores are computed.

    Attributes:
        part: of the weights that the task needs, as for `load_pretrained`.
        needs_train: whether training cases are read; if not, the weights are evaluated as they are.
        tunings: of the encoder that the task offers.
        primary: metric that stands first.
        shared: labels that the data trained on and other data evaluated on have in common.
        encoder_name: what the names of the encoder's parameters begin with in the network.
    """

    part: ClassVar[str] = "encoder"
    needs_train: ClassVar[bool] = True
    tunings: ClassVar[tuple[str, ...]] = ("full", "frozen", "lora")
    primary: ClassVar[str] = ""
    encoder_name: ClassVar[str] = "encoder."
    shared: tuple[str, ...] = ()

    def __init__(self, config: TaskConfig, start: Start | None = None):
        if config.tuning.tuning not in self.tunings:
            raise ValueError(
                f"{type(self).__name__} offers the tuning {', '.join(self.tunings)}, got "
                f"'{config.tuning.tuning}': its encoder stays as the weights have it"
            )
        self.config, self.start = config, start

    @classmethod
    def defaults(cls) -> TaskConfig:
        """Default settings, the task's own group included."""
        return TaskConfig()

    @classmethod
    def stored_config(cls, settings: Mapping[str, Mapping[str, Any]]) -> TaskConfig:
        """Settings as a run stored them."""
        groups = {name: type(group) for name, group in vars(cls.defaults()).items()}
        values = {
            name: {key: tuple(v) if isinstance(v, list) else v for key, v in group.items()}
            for name, group in settings.items()  # JSON has lists only
        }
        return TaskConfig(**{name: kind(**values[name]) for name, kind in groups.items()})

    # The four functions.

    @abstractmethod
    def prepare(self, folder: Path, split: str, *, training: bool = False) -> Cases:
        """The cases of one split of a prepared folder.

        Args:
            folder: written by data_prep.
            split: "train", "val" or "test".
            training: crops are drawn and labels permuted, where the settings say so.

        Raises:
            ValueError: if the folder does not fit the task; names file, column and patient.
        """

    @abstractmethod
    def head(self, encoder: Encoder, train: Cases) -> nn.Module:
        """A module with fresh weights: (maps, batch) -> output."""

    @abstractmethod
    def loss(self, output: Any, batch: Any) -> dict[str, Tensor]:
        """Losses of one batch, by name; their sum is minimised."""

    @abstractmethod
    def metrics(self, predicted: Predicted) -> list[Measure]:
        """Scores of the predictions, and those of trivial baselines under the same names."""

    # Defaults.

    def share_labels(self, home: Sequence[str], away: Sequence[str]) -> None:
        """Told the labels of the data trained on, and of other data evaluated on."""
        self.shared = tuple(name for name in home if name in away)

    def network(self, start: Start, train: Cases) -> nn.Module:
        """All that is trained: called with a batch, it gives the output."""
        encoder = freeze_or_adapt(start.encoder, self.config.tuning)
        return TaskNetwork(encoder, self.head(start.encoder, train))

    def known(self, train: Cases, numbers: Int[np.ndarray, " N"]) -> dict[str, Any]:
        """What baselines need of the training cases with these numbers; JSON values."""
        return {}

    def notes(self, cases: Cases) -> str:
        """What has to stand beside every number on this data set."""
        return ""

    def dealt(self, labels: np.ndarray) -> np.ndarray:
        """Labels (a row a case); as a control dealt to other cases, if settings say so.

        Labels of training cases; of evaluation cases where a task trains nothing.
        """
        if not self.config.tuning.permute_labels:
            return labels
        order = np.random.default_rng([self.config.run.seed, 12]).permutation(len(labels))
        return labels[order]

    def epoch(
        self, cases: Cases, numbers: Int[np.ndarray, " N"], random: np.random.Generator
    ) -> Int[np.ndarray, " E"]:
        """Cases of one epoch, in order; by default one case of every patient, drawn.

        Args:
            cases: of training.
            numbers: of those that take part.
            random: of this epoch. The length of an epoch may not depend on it.
        """
        patients: dict[str, list[int]] = {}
        for number in numbers:
            patients.setdefault(cases.patient_id[number], []).append(int(number))
        drawn = [own[int(random.integers(len(own)))] for own in patients.values()]
        return random.permutation(np.array(drawn, dtype=np.int64))

    def record(self, output: Any, batch: Any) -> list[dict[str, Any]]:
        """The output of every case of a batch as JSON values; used by the default `predict`."""
        return [{"output": row.tolist()} for row in output.float().cpu()]

    def truth(self, cases: Cases, number: int) -> dict[str, Any]:
        """What metrics need to know of a case; JSON values."""
        if cases.labels is None:
            return {}
        row = cases.labels[number]
        return {
            name: None if np.isnan(value) else float(value)
            for name, value in zip(cases.label_names, row, strict=True)
        }

    def predict(
        self, network: nn.Module, cases: Cases, numbers: Int[np.ndarray, " N"], folder: Path
    ) -> Iterator[Prediction]:
        """Predictions of the cases with these numbers, in order.

        Args:
            network: in evaluation mode, on its device; no gradient is kept.
            cases: of one split.
            numbers: this process's share, all cases of a patient in one process.
            folder: for files of arrays, named in predictions relative to the run's folder; they
                may not have the name of another case's.
        """
        device = next(network.parameters()).device
        size = self.config.compute.predict_batch
        for start in range(0, len(numbers), size):
            part = numbers[start : start + size]
            batch = cases.collate([cases.items[int(number)] for number in part]).to(device)
            with torch.no_grad():
                output = network(batch)
            for number, record in zip(part, self.record(output, batch), strict=True):
                case, patient = cases.case_id[number], cases.patient_id[number]
                yield Prediction(case, patient, record, self.truth(cases, int(number)))
