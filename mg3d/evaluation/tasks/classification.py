"""Classification of volumes and of places in them: LUNA16, CC-CCII, STOIC2021.

The encoder's last map is pooled over its tokens, normalised and mapped to logits by one layer.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.utils.data import Dataset

from mg3d.config.checks import Checked, Range
from mg3d.data.points import PointDataset
from mg3d.data.split import PreparedSplit
from mg3d.data.volume_batch import VolumeBatch, VolumeItem, collate_volumes
from mg3d.data.volume_dataset import VolumeDataset
from mg3d.encoders import Encoder
from mg3d.evaluation.tasks.class_scores import binary_measures, class_measures
from mg3d.evaluation.tasks.settings import TaskConfig
from mg3d.evaluation.tasks.task import Cases, Measure, Predicted, Task


class PooledHead(nn.Module):
    """Logits from the encoder's last map: pool over tokens, layer norm, linear.

    Args:
        width: channels of the map.
        outputs: number of logits.
        pooling: "mean", or "mean_max": mean and maximum side by side.
    """

    def __init__(self, width: int, outputs: int, pooling: str = "mean"):
        super().__init__()
        self.pooling = pooling
        size = width * (2 if pooling == "mean_max" else 1)
        self.norm, self.linear = nn.LayerNorm(size), nn.Linear(size, outputs)

    def forward(self, maps: Sequence[Tensor], batch: Any) -> Float[Tensor, "B k"]:
        """Logits of every case."""
        tokens = maps[-1].flatten(2)
        pooled = tokens.mean(-1)
        if self.pooling == "mean_max":
            pooled = torch.cat([pooled, tokens.amax(-1)], dim=1)
        logits: Tensor = self.linear(self.norm(pooled))
        return logits


class Labelled(Dataset[VolumeItem]):
    """Items whose labels are those of a table, instead of their own.

    Args:
        items: `items[number]`.
        labels: a row an item.
    """

    def __init__(self, items: Any, labels: Float[np.ndarray, "N C"]):
        self.items, self.labels = items, torch.from_numpy(labels.astype(np.float32))

    def __len__(self) -> int:
        """Number of items."""
        return len(self.items)

    def __getitem__(self, number: int) -> VolumeItem:
        """One item with the table's labels."""
        item: VolumeItem = self.items[number]
        return replace(item, labels=self.labels[number])


@dataclass(frozen=True, kw_only=True)
class HeadSettings(Checked):
    """The head of a classification."""

    pooling: Literal["mean", "mean_max"] = "mean"  # of the last map over its tokens


@dataclass(frozen=True, kw_only=True)
class CubeSettings(HeadSettings):
    """The head, and the cube around a place."""

    cube: Annotated[int, Range(at_least=8)] = 48  # edge, voxels of the prepared grid


class Classification(Task):
    """A task whose cases are whole volumes with labels from the manifest.

    Attributes:
        columns: label columns of the manifest that it reads.
    """

    columns: ClassVar[tuple[str, ...]] = ()
    num_outputs: ClassVar[int] = 1

    @classmethod
    def defaults(cls) -> TaskConfig:
        """Settings of fine-tuning with a pooled head."""
        return TaskConfig(own=HeadSettings())

    def prepare(self, folder: Path, split: str, *, training: bool = False) -> Cases:
        """Every volume of a split with its labels."""
        dataset = VolumeDataset(folder, split)
        check_columns(dataset, self.columns, type(self).__name__)
        labels = dataset.rows[list(self.columns)].to_numpy(dtype=np.float64)
        names = (list(dataset.rows["volume_id"]), list(dataset.rows["patient_id"]))
        return self.cases(dataset, dataset, labels, names, training=training)

    def cases(
        self,
        split: PreparedSplit,
        items: Any,
        labels: Float[np.ndarray, "N C"],
        names: tuple[list[str], list[str]],
        *,
        training: bool,
    ) -> Cases:
        """Cases with a label table; for training, checked and permuted if the settings say so."""
        if training:
            check_labels(split, labels, self.columns, names[1])
            labels = self.dealt(labels)
        return Cases(
            split, Labelled(items, labels), *names, collate_volumes,
            labels=labels, label_names=self.columns,
        )  # fmt: skip

    def head(self, encoder: Encoder, train: Cases) -> nn.Module:
        """Pool, layer norm, linear."""
        pooling = getattr(self.config.own, "pooling", "mean")
        return PooledHead(encoder.width, self.num_outputs, pooling)

    def loss(self, output: Tensor, batch: VolumeBatch) -> dict[str, Tensor]:
        """Binary cross-entropy over the labels that are known."""
        return {"bce": known_bce(output, batch.labels)}


class Luna16(Classification):
    """LUNA16: is a candidate location a nodule? One logit on the cube around it.

    A step shows as many positives as negatives: every epoch has all positives, and as many
    negatives, drawn anew.
    """

    primary: ClassVar[str] = "auroc"
    columns: ClassVar[tuple[str, ...]] = ("label",)

    @classmethod
    def defaults(cls) -> TaskConfig:
        """Settings of fine-tuning on cubes."""
        return TaskConfig(own=CubeSettings())

    def prepare(self, folder: Path, split: str, *, training: bool = False) -> Cases:
        """Every candidate of a split."""
        edge = getattr(self.config.own, "cube", 48)
        points = PointDataset(folder, split, crop=(edge, edge, edge))
        rows = points.volumes.rows
        patients = [str(rows["patient_id"][row]) for row in points.rows]
        names = [f"{rows['volume_id'][row]}/{number}" for number, row in enumerate(points.rows)]
        labels = points.labels.numpy().astype(np.float64)[:, None]
        return self.cases(points.volumes, points, labels, (names, patients), training=training)

    def epoch(
        self, cases: Cases, numbers: Int[np.ndarray, " N"], random: np.random.Generator
    ) -> Int[np.ndarray, " E"]:
        """Positives and negatives in turn; of the more frequent class, as many as of the other."""
        assert cases.labels is not None
        truth = cases.labels[numbers, 0]
        sides = [random.permutation(numbers[truth == value]) for value in (1, 0)]
        length = min(map(len, sides))
        return np.stack([side[:length] for side in sides], axis=1).ravel()

    def metrics(self, predicted: Predicted) -> list[Measure]:
        """AUROC and average precision, whose chance levels are 0.5 and the prevalence."""
        return binary_measures(predicted, "label", 0, decided=True)


class CcCcii(Classification):
    """CC-CCII: COVID-19, common pneumonia or normal, one of three for every scan."""

    primary: ClassVar[str] = "accuracy"
    columns: ClassVar[tuple[str, ...]] = ("diagnosis",)
    num_outputs: ClassVar[int] = 3

    def loss(self, output: Tensor, batch: VolumeBatch) -> dict[str, Tensor]:
        """Cross-entropy."""
        return {"cross_entropy": F.cross_entropy(output, batch.labels[:, 0].long())}

    def known(self, train: Cases, numbers: Int[np.ndarray, " N"]) -> dict[str, Any]:
        """Names of the classes and how many training cases each has."""
        assert train.labels is not None
        classes = train.split.manifest.facts["label_classes"][self.columns[0]]
        counts = np.bincount(train.labels[numbers, 0].astype(int), minlength=len(classes))
        return {"classes": list(classes), "counts": counts.tolist()}

    def metrics(self, predicted: Predicted) -> list[Measure]:
        """Accuracy, balanced accuracy and one-vs-rest AUROC, of scans and of patients."""
        return class_measures(predicted, self.columns[0])


class Stoic2021(Classification):
    """STOIC2021: COVID-19 or not, and severe or not among those who have it.

    The severity of a patient without COVID-19 is no label: it is neither learned nor scored.
    """

    primary: ClassVar[str] = "auroc_severe_given_covid"
    columns: ClassVar[tuple[str, ...]] = ("covid", "severe")
    num_outputs: ClassVar[int] = 2

    def prepare(self, folder: Path, split: str, *, training: bool = False) -> Cases:
        """Every volume of a split; severity is unknown where there is no COVID-19."""
        dataset = VolumeDataset(folder, split)
        check_columns(dataset, self.columns, type(self).__name__)
        labels = dataset.rows[list(self.columns)].to_numpy(dtype=np.float64)
        labels[:, 1] = np.where(labels[:, 0] == 1, labels[:, 1], np.nan)
        names = (list(dataset.rows["volume_id"]), list(dataset.rows["patient_id"]))
        return self.cases(dataset, dataset, labels, names, training=training)

    def metrics(self, predicted: Predicted) -> list[Measure]:
        """AUROC of severity among patients with COVID-19, and of COVID-19 among all."""
        severe = binary_measures(predicted, "severe", 1, suffix="_severe_given_covid")
        return severe + binary_measures(predicted, "covid", 0, suffix="_covid")


def known_bce(logits: Float[Tensor, "B C"], labels: Float[Tensor, "B C"]) -> Float[Tensor, ""]:
    """Binary cross-entropy, mean over the labels that are known; 0 if none is.

    Args:
        logits: of every label.
        labels: 1, 0, or NaN where unknown.
    """
    known = ~labels.isnan()
    target = torch.where(known, labels, 0.0)
    every = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    return (every * known).sum() / known.sum().clamp(min=1)


def check_columns(split: PreparedSplit, columns: Sequence[str], task: str) -> None:
    """Refuse a folder that lacks the labels of a task.

    Raises:
        ValueError: names the file, the columns and what the folder was made from.
    """
    missing = [name for name in columns if name not in split.label_names]
    if missing:
        source = split.manifest.facts.get("source", "an unknown source")
        raise ValueError(
            f"{split.folder / 'manifest.csv'} lacks the label columns {', '.join(missing)} that "
            f"{task} reads; it was made from {source} and has "
            f"{', '.join(split.label_names) or 'no labels'}; take the task of that data set, or "
            "prepare the right one"
        )


def check_labels(
    split: PreparedSplit,
    labels: Float[np.ndarray, "N C"],
    columns: Sequence[str],
    patients: Sequence[str],
) -> None:
    """Refuse training labels from which nothing can be learned.

    Raises:
        ValueError: if a case has no label, or all cases that have one are of one class; names the
            file, column and patient.
    """
    path = split.folder
    empty = np.flatnonzero(np.isnan(labels).all(1))
    if len(empty):
        raise ValueError(
            f"{path}: {len(empty)} of {len(labels)} training cases have no label in "
            f"{', '.join(columns)}, first one of patient {patients[empty[0]]}; give the labels, or "
            "drop these rows"
        )
    for number, name in enumerate(columns):
        values = labels[~np.isnan(labels[:, number]), number]
        if len(np.unique(values)) < 2:
            found = f"all {len(values)} are {values[0]:g}" if len(values) else "there is none"
            raise ValueError(
                f"{path}, split '{split.split}', column {name}: {found} (first patient "
                f"{patients[0]}), and two classes are needed to learn; give more training patients"
            )
