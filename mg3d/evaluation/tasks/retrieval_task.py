"""Retrieval: which volume belongs to a report, and which volumes resemble a volume.

Reports find volumes by uni-modal vectors (the CLIP head's, or the model's own) and by vectors of
every fused pair (CML's heads). Volumes find volumes by the uni-modal vector, the query's own
patient left out. A similarity row is saved a query, so that every K is scored from one ranking.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, cast

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from mg3d.config.checks import Checked, Range
from mg3d.data.batch import collate
from mg3d.data.dataset import VolumeReportDataset
from mg3d.encoders import Encoder
from mg3d.evaluation.per_patient import bootstrap_cases
from mg3d.evaluation.ranking_metrics import rank_items, same_key
from mg3d.evaluation.tasks.class_scores import CHANCE
from mg3d.evaluation.tasks.settings import TaskConfig, TuningSettings
from mg3d.evaluation.tasks.task import Cases, Measure, Predicted, Prediction, Task

KS = (1, 5, 10, 50, 100)
JACCARD_KS = (1, 5, 10, 50)
WAYS = ("unimodal", "fused", "volume")


@dataclass(frozen=True, kw_only=True)
class RetrievalSettings(Checked):
    """The pool that is searched."""

    pool: Annotated[int, Range(at_least=0)] = 0  # volumes, drawn by the seed; 0: all
    all_volumes: bool = False  # every reconstruction, instead of one volume a scan
    memory_gb: Annotated[float, Range(above=0)] = 1.0  # for fusing pairs


class Retrieval(Task):
    """Retrieval of volumes by reports (uni-modal and fused) and by volumes; nothing is trained."""

    part: ClassVar[str] = "pretraining"
    needs_train: ClassVar[bool] = False
    tunings: ClassVar[tuple[str, ...]] = ("frozen",)
    primary: ClassVar[str] = "unimodal_recall_at_5"

    def __init__(self, config: TaskConfig, start: Any = None):
        super().__init__(config, start)
        self.missing: list[str] = []  # heads that the weights do not have

    @classmethod
    def defaults(cls) -> TaskConfig:
        """Settings of the pool."""
        return TaskConfig(own=RetrievalSettings(), tuning=TuningSettings(tuning="frozen"))

    def prepare(self, folder: Path, split: str, *, training: bool = False) -> Cases:
        """The pool: one volume a scan, sorted by name, or as many as are asked for."""
        assert self.start is not None, "retrieval reads reports with the weights' own tokenizer"
        own: Any = self.config.own
        model = self.start.pretraining.model
        config = self.start.pretraining.config
        assert config is not None
        dataset = VolumeReportDataset(
            folder, split, model.text_encoder.tokenizer,
            max_tokens=config.network.max_tokens, volume_shape=config.grid.volume_shape,
            report_cut=config.network.report_cut,
        )  # fmt: skip
        rows = dataset.rows.sort_values("volume_id")
        if not own.all_volumes:
            rows = rows.drop_duplicates("scan_id")
        chosen = np.array(rows.index)
        if own.pool:
            numbers = np.random.default_rng([self.config.run.seed, 13])
            chosen = np.sort(numbers.permutation(chosen)[: own.pool])
        labels = dataset.rows[list(dataset.label_names)].to_numpy(dtype=float)[chosen]
        return Cases(
            dataset, [int(row) for row in chosen],
            list(dataset.rows["volume_id"][chosen]), list(dataset.rows["patient_id"][chosen]),
            collate(model.text_encoder.pad_token),
            labels=labels, label_names=tuple(dataset.label_names),
        )  # fmt: skip

    def notes(self, cases: Cases) -> str:
        """The pool's size, and which heads are missing."""
        return "; ".join([f"pool of {len(cases)} volumes", *self.missing])

    def network(self, start: Any, train: Cases) -> nn.Module:
        """Model and heads, as they were pre-trained."""
        from mg3d.objectives.clip import CLIP
        from mg3d.objectives.cml import CML

        if start.pretraining.find(CLIP) is None:
            self.missing.append("no CLIP head: uni-modal vectors are the model's own")
        if start.pretraining.find(CML) is None:
            self.missing.append("no CML heads: pairs are not fused")
        pretraining: nn.Module = start.pretraining
        return pretraining

    def head(self, encoder: Encoder, train: Cases) -> nn.Module:
        """None: the pre-trained heads compare."""
        return nn.Identity()

    def loss(self, output: Any, batch: Any) -> dict[str, Tensor]:
        """None: nothing is trained."""
        raise NotImplementedError("retrieval takes no training steps")

    def truth(self, cases: Cases, number: int) -> dict[str, Any]:
        """Place in the pool, scan, report and labels."""
        split: Any = cases.split
        row = cases.items[number]
        report = " ".join(s for s in split.reports[row].sentences)
        scan = str(split.rows["scan_id"][row])
        labels = super().truth(cases, number)
        return {"place": number, "scan": scan, "report": report, "labels": labels}

    def predict(
        self, network: Any, cases: Cases, numbers: Int[np.ndarray, " N"], folder: Path
    ) -> Iterator[Prediction]:
        """Similarity of every query with all volumes of the pool, rounded to 7 digits.

        As a control, if the settings say so, every query is that of another scan.
        """
        own: Any = self.config.own
        table = similarities(network, cases, self.config.compute.predict_batch, own.memory_gb)
        asked = self.dealt(np.arange(len(cases)))
        for number in numbers:
            case, patient = cases.case_id[number], cases.patient_id[number]
            rows = {way: [float(f"{x:.7g}") for x in t[asked[number]]] for way, t in table.items()}
            yield Prediction(case, patient, rows, self.truth(cases, int(number)))

    def metrics(self, predicted: Predicted) -> list[Measure]:
        """Recall at K, MRR and median rank of reports; label Jaccard at K of volumes."""
        queries = sorted(predicted.evaluation, key=lambda one: one.truth["place"])
        found: list[Measure] = []
        for way in WAYS[:2]:
            if way in queries[0].output:
                found += _report_measures(queries, way, predicted.seed)
        return found + _volume_measures(queries, predicted.seed)


@torch.no_grad()
def similarities(
    pretraining: Any, cases: Cases, batch_size: int, memory_gb: float
) -> dict[str, Float[np.ndarray, "N N"]]:
    """Tables of queries (rows) and volumes: "unimodal", "volume", and "fused" with CML's heads."""
    from mg3d.evaluation.encode import embed_words
    from mg3d.evaluation.fused_retrieval import fused_similarity, mean_sentence
    from mg3d.objectives.clip import CLIP
    from mg3d.objectives.cml import CML

    model, split = pretraining.model, cast(Any, cases.split)
    clip, cml = pretraining.find(CLIP), pretraining.find(CML)
    device = next(pretraining.parameters()).device
    parts: dict[str, list[Tensor]] = {}
    for start in range(0, len(cases), batch_size):
        rows = cases.items[start : start + batch_size]
        batch = cases.collate([split[row] for row in rows]).to(device)
        features = model(batch, needed=["visual_tokens", "sentence_tokens"])
        sentence, empty = mean_sentence(features.sentence_tokens, batch.sentence_padding)
        volume, report = model.volume_pooler(features.visual_tokens), model.embed_reports(batch)
        if clip is not None:
            words = embed_words(model, batch)
            volume, report = (
                clip.volume_head(volume),
                clip.report_head(clip.choose(vector=report, words=words)),
            )
        new = {"tokens": features.visual_tokens, "sentence": sentence, "empty": empty,
               "volume": volume, "report": report}  # fmt: skip
        for name, value in new.items():
            parts.setdefault(name, []).append(value)
    whole = {name: torch.cat(values) for name, values in parts.items()}
    volumes, reports = (_unit(whole[name].float()) for name in ("volume", "report"))
    found = {"unimodal": reports @ volumes.T, "volume": volumes @ volumes.T}
    if cml is not None:
        found["fused"] = fused_similarity(
            model, cml, whole["tokens"], whole["sentence"], whole["empty"], memory_gb=memory_gb
        )
    return {name: table.float().cpu().numpy() for name, table in found.items()}


def _report_measures(queries: Sequence[Prediction], way: str, seed: int) -> list[Measure]:
    """Strict (the own volume), scan (a sibling counts) and text (the same report counts)."""
    similarity = np.array([one.output[way] for one in queries])
    patients = [one.patient_id for one in queries]
    keys: Mapping[str, Sequence[str]] = {
        "": [one.case_id for one in queries],
        "_scan": [one.truth["scan"] for one in queries],
        "_text": [one.truth["report"] for one in queries],
    }
    found = []
    for suffix, key in keys.items():
        right = same_key(key, key)
        if suffix and right.sum() == len(right):
            continue  # no siblings: the same as strict
        for model, table in (("", similarity), (CHANCE, np.zeros_like(similarity))):
            ks = [k for k in KS if k < len(queries)]
            summary = rank_items(table, right).summary(patients, ks=ks, seed=seed)
            order = sorted(summary, key=lambda name: name != "recall_at_5")
            found += [
                Measure(f"{way}_{name}{suffix}", summary[name], len(queries), model)
                for name in order
            ]
    return found


def _volume_measures(queries: Sequence[Prediction], seed: int) -> list[Measure]:
    """Mean label Jaccard of the K most similar volumes of other patients with a finding."""
    similarity = np.array([one.output["volume"] for one in queries])
    patients = [one.patient_id for one in queries]
    labels = np.array([[v == 1 for v in one.truth["labels"].values()] for one in queries])
    if not labels.size or not labels.any():
        return []
    shown = np.asarray(labels.any(1))[None, :] & (~same_key(patients, patients))
    jaccard = jaccard_table(labels)
    kept = np.flatnonzero(shown.any(1))
    order = np.argsort(np.where(shown, -similarity, np.inf), axis=1, kind="stable")
    counts = shown.sum(1)
    chance = (np.where(shown, jaccard, 0.0).sum(1) / np.maximum(counts, 1))[kept]
    names = [patients[q] for q in kept]
    found = []
    for k in JACCARD_KS:
        if k > counts[kept].min():
            continue
        own = np.take_along_axis(jaccard, order[:, :k], axis=1).mean(1)[kept]
        for model, values in (("", own), ("trivial: random volume", chance)):
            score = bootstrap_cases(
                lambda rows, values=values: float(values[rows].mean()),  # type: ignore[misc]
                names,
                seed=seed,
            )
            found.append(Measure(f"volume_jaccard_at_{k}", score, len(kept), model))
    return found


def jaccard_table(labels: Bool[np.ndarray, "N C"]) -> Float[np.ndarray, "N N"]:
    """Labels that two volumes share, over labels that either has; 0 where neither has any."""
    both = labels.astype(float) @ labels.T.astype(float)
    either = labels.sum(1)[:, None] + labels.sum(1)[None, :] - both
    return np.divide(both, either, out=np.zeros_like(both), where=either > 0)


def _unit(rows: Float[Tensor, "N d"]) -> Float[Tensor, "N d"]:
    return torch.nn.functional.normalize(rows, dim=-1)
