"""Tasks with several yes/no labels a volume: the linear probe and their scores."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from mg3d.config.checks import Checked
from mg3d.data.split import PreparedSplit, fingerprint
from mg3d.data.volume_batch import collate_volumes
from mg3d.data.volume_dataset import VolumeDataset
from mg3d.encoders import Encoder
from mg3d.evaluation.classification_metrics import Decisions, average_precisions
from mg3d.evaluation.decision_thresholds import choose_thresholds, decide
from mg3d.evaluation.metrics import auroc, aurocs, macro
from mg3d.evaluation.per_patient import bootstrap_cases
from mg3d.evaluation.tasks.class_scores import CHANCE, NEVER
from mg3d.evaluation.tasks.classification import Labelled
from mg3d.evaluation.tasks.label_table import read_labels
from mg3d.evaluation.tasks.settings import FinetuneSettings, TaskConfig
from mg3d.evaluation.tasks.task import Cases, Measure, Predicted, Prediction, Task

DECIDED = ("f1_macro", "f1_both_classes", "precision_macro", "accuracy_macro")


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
        return TaskConfig(own=LabelSettings(), finetune=FinetuneSettings(total_steps=0))

    def names_of(self, split: PreparedSplit) -> list[str]:
        """Labels that are asked for; [] for all."""
        own: Any = self.config.own
        return own.names()

    def prepare(self, folder: Path, split: str, *, training: bool = False) -> Cases:
        """Every volume of a split with its labels."""
        own: Any = self.config.own
        volumes = VolumeDataset(folder, split)
        labels, names = read_labels(volumes, own.labels, self.names_of(volumes))
        if training:
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


class Probe(MultiLabel):
    """Linear probe: one logistic regression a label on frozen features, cached in the run folder.

    Features are the mean and the maximum of the encoder's last map over its tokens.
    """

    def network(self, start: Any, train: Cases) -> nn.Module:
        """The encoder, frozen."""
        start.encoder.requires_grad_(False)
        self.train, self.digest = train, start.digest
        network: nn.Module = start.encoder
        return network

    def known(self, train: Cases, numbers: Int[np.ndarray, " N"]) -> dict[str, Any]:
        """Labels without two classes among the training cases: they have no score."""
        self.numbers = numbers
        assert train.labels is not None
        one = [
            name
            for name, column in zip(train.label_names, train.labels[numbers].T, strict=True)
            if len(np.unique(column[~np.isnan(column)])) < 2
        ]
        if len(one) == len(train.label_names):
            raise ValueError(
                f"{train.split.folder}: no label has two classes among the {len(numbers)} training "
                f"cases (first {one[0]}, patient {train.patient_id[numbers[0]]}); give more "
                "training patients"
            )
        return {"not_learned": one}

    def predict(
        self, network: nn.Module, cases: Cases, numbers: Int[np.ndarray, " N"], folder: Path
    ) -> Iterator[Prediction]:
        """Log-odds of every label; the regressions are fitted on the training cases' features."""
        from mg3d.evaluation.probe import linear_probe

        kept = folder.parents[1] / "features"
        features = self._features(network, self.train, kept)
        own = self._features(network, cases, kept)
        labels, train = self.train.labels, self.numbers
        assert labels is not None and cases.labels is not None
        if not len(numbers):
            return
        nothing = np.full((len(numbers), labels.shape[1]), np.nan)  # scored from files, not here
        fitted = linear_probe(features[train], labels[train], own[numbers], nothing)
        for number, scores in zip(numbers, fitted.scores, strict=True):
            case, patient = cases.case_id[number], cases.patient_id[number]
            truth = self.truth(cases, int(number))
            yield Prediction(case, patient, {"output": scores.tolist()}, truth)

    def _features(self, network: nn.Module, cases: Cases, folder: Path) -> np.ndarray:
        """Features of all cases, from the cache where weights and voxels are the same."""
        from safetensors.numpy import load_file, save_file

        split = cases.split
        path = folder / f"{split.split}_{self.digest}_{fingerprint(split)}.safetensors"
        if path.is_file():
            return np.asarray(load_file(path)["features"])
        device = next(network.parameters()).device
        size = self.config.compute.predict_batch
        found = []
        for start in range(0, len(cases), size):
            items = [cases.items[n] for n in range(start, min(start + size, len(cases)))]
            with torch.no_grad():
                tokens = network(cases.collate(items).to(device).volume)[-1].flatten(2)
            found.append(torch.cat([tokens.mean(-1), tokens.amax(-1)], 1).float().cpu().numpy())
        features = np.concatenate(found)
        folder.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(f".{np.random.default_rng().integers(2**32)}.partial")
        save_file({"features": features}, partial)
        partial.replace(path)
        return features


def multilabel_measures(predicted: Predicted) -> list[Measure]:
    """Scores of several yes/no labels: means over labels first, then the AUROC of each."""
    names, labels, scores, patients = _tables(predicted.evaluation)
    learned = ~np.isin(names, predicted.known.get("not_learned", []))
    labels = np.where(learned, labels, np.nan)
    same = np.zeros_like(scores)
    rules: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
        "auroc_macro": lambda y, s: macro(aurocs(y, s)),
        "ap_macro": lambda y, s: macro(average_precisions(y, s)),
    }
    found = []
    for name, rule in rules.items():
        for model, given in (("", scores), (CHANCE, same)):
            found.append(_measure(name, rule, labels, given, patients, predicted.seed, model))
    if predicted.thresholds:
        _, by, chosen, _ = _tables(predicted.thresholds)
        claims = decide(scores, choose_thresholds(by, chosen))
        never = np.where(np.isnan(claims), np.nan, 0.0)
        for name in DECIDED:
            for model, given in (("", claims), (NEVER, never)):
                found.append(
                    _measure(
                        name,
                        lambda y, c, name=name: Decisions(y, c).summary()[name],  # type: ignore[misc]
                        labels,
                        given,
                        patients,
                        predicted.seed,
                        model,
                    )
                )
    for place, name in enumerate(names):
        column = labels[:, place]
        if 0 < np.nansum(column) < np.sum(~np.isnan(column)):
            own = scores[:, place]
            metric = f"auroc: {name}"
            found.append(_measure(metric, auroc, column, own, patients, predicted.seed, ""))
    return found


def _tables(
    predictions: Sequence[Prediction],
) -> tuple[list[str], Float[np.ndarray, "N C"], Float[np.ndarray, "N C"], list[str]]:
    """Names, labels, scores and patients."""
    names = list(predictions[0].truth)
    truth = [[one.truth[name] for name in names] for one in predictions]
    scores = np.array([one.output["output"] for one in predictions], dtype=float)
    return names, np.array(truth, dtype=float), scores, [one.patient_id for one in predictions]


def _measure(
    name: str,
    rule: Callable[[np.ndarray, np.ndarray], float],
    labels: np.ndarray,
    given: np.ndarray,
    patients: Sequence[str],
    seed: int,
    model: str,
) -> Measure:
    score = bootstrap_cases(lambda rows: rule(labels[rows], given[rows]), patients, seed=seed)
    return Measure(name, score, len(labels), model)
