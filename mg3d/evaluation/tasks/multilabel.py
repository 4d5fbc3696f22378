"""Tasks with several yes/no labels a volume: which labels, from where, and what is said of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Int
from torch import Tensor, nn

from mg3d.config.checks import Checked
from mg3d.data.split import PreparedSplit
from mg3d.data.volume_batch import collate_volumes
from mg3d.data.volume_dataset import VolumeDataset
from mg3d.encoders import Encoder
from mg3d.evaluation.tasks.classification import Labelled
from mg3d.evaluation.tasks.label_table import read_labels
from mg3d.evaluation.tasks.multilabel_scores import multilabel_measures
from mg3d.evaluation.tasks.settings import FinetuneSettings, TaskConfig, TuningSettings
from mg3d.evaluation.tasks.task import Cases, Measure, Predicted, Task


@dataclass(frozen=True, kw_only=True)
class LabelSettings(Checked):
    """Which labels are scored."""

    labels: str = ""  # table of labels (CSV with volume_id or patient_id); "": the manifest's
    columns: str = ""  # names of the labels, separated by ";"; "": all

    def names(self) -> list[str]:
        """The columns asked for; [] for all."""
        return [name.strip() for name in self.columns.split(";") if name.strip()]


class MultiLabel(Task):
    """A task with several yes/no labels a volume; every volume of a split is a case."""

    primary: ClassVar[str] = "auroc_macro"

    @classmethod
    def defaults(cls) -> TaskConfig:
        """Settings with a choice of labels."""
        return TaskConfig(
            own=LabelSettings(),
            tuning=TuningSettings(tuning="frozen"),
            finetune=FinetuneSettings(total_steps=0),
        )

    def share_labels(self, home: Sequence[str], away: Sequence[str]) -> None:
        """Score the labels that both data sets have.

        Raises:
            ValueError: if there is none.
        """
        super().share_labels(home, away)
        own: Any = self.config.own
        if not self.shared and not own.labels:
            raise ValueError(
                f"the data trained on have the labels {', '.join(home) or '(none)'}, those "
                f"evaluated on {', '.join(away) or '(none)'}: none in common; give both in --labels"
            )

    def names_of(self, split: PreparedSplit) -> list[str]:
        """Labels that are asked for, or that all data have; [] for all of the split."""
        own: Any = self.config.own
        return own.names() or ([] if own.labels else list(self.shared))

    def prepare(self, folder: Path, split: str, *, training: bool = False) -> Cases:
        """Every volume of a split with its labels."""
        own: Any = self.config.own
        volumes = VolumeDataset(folder, split)
        labels, names = read_labels(volumes, own.labels, self.names_of(volumes))
        if training or not self.needs_train:
            labels = self.dealt(labels)
        return Cases(
            volumes, Labelled(volumes, labels),
            list(volumes.rows["volume_id"]), list(volumes.rows["patient_id"]), collate_volumes,
            labels=labels, label_names=names,
        )  # fmt: skip

    def notes(self, cases: Cases) -> str:
        """What an external data set's labels cannot say."""
        facts = cases.split.manifest.facts
        without = facts.get("findings_without_counterpart", [])
        coarser = [n for n in facts.get("coarser_counterparts", {}) if n in cases.label_names]
        return "; ".join(
            f"{what}: {', '.join(names)}"
            for what, names in (("no counterpart", without), ("coarser label", coarser))
            if names
        )

    def loss(self, output: Any, batch: Any) -> dict[str, Tensor]:
        """Nothing is trained by steps."""
        raise NotImplementedError(f"{type(self).__name__} takes no training steps")

    def head(self, encoder: Encoder, train: Cases) -> nn.Module:
        """The maps as they are."""
        return nn.Identity()

    def metrics(self, predicted: Predicted) -> list[Measure]:
        """Macro AUROC and AP, decisions where there is a threshold set, AUROC of each label."""
        return multilabel_measures(predicted)


def not_learned(train: Cases, numbers: Int[np.ndarray, " N"]) -> list[str]:
    """Labels without two classes among the training cases: they have no score.

    Args:
        train: cases with labels.
        numbers: of the cases that take part.

    Raises:
        ValueError: if that is so of all labels; names the folder, a column and a patient.
    """
    assert train.labels is not None
    one = [
        name
        for name, column in zip(train.label_names, train.labels[numbers].T, strict=True)
        if len(np.unique(column[~np.isnan(column)])) < 2
    ]
    if len(one) == len(train.label_names):
        raise ValueError(
            f"{train.split.folder}, split '{train.split.split}': no label has two classes among "
            f"the {len(numbers)} training cases (first column {one[0]}, patient "
            f"{train.patient_id[numbers[0]]}); give more training patients"
        )
    return one
