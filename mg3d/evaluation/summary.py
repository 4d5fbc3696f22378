"""The evaluation of a pre-training run: every score on held-out patients, beside its baseline.

The untrained model is evaluated by the same protocols: features of random convolutions already
classify well above chance, and only the difference was learned.
"""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mg3d.data.dataset import VolumeReportDataset
from mg3d.evaluation.encode import encode_patients, project_reports, project_volumes
from mg3d.evaluation.metrics import Score, aurocs, bootstrap, macro
from mg3d.evaluation.probe import Probe, linear_probe
from mg3d.evaluation.retrieval import Retrieval, align, retrieve
from mg3d.evaluation.zero_shot import zero_shot
from mg3d.objectives.clip import CLIP
from mg3d.training.step import Pretraining


@dataclass(frozen=True)
class Evaluation:
    """Scores of one model on held-out patients."""

    probe: Probe  # of the vision encoder's features
    retrieval_aligned: Retrieval  # with a linear alignment head fitted on training patients
    retrieval: Retrieval | None  # with the model's own CLIP head; None if it has none
    zero_shot: Probe | None  # of labels with prompts; None without any, or without a CLIP head


def evaluate(
    pretraining: Pretraining,
    train: VolumeReportDataset,
    val: VolumeReportDataset,
    *,
    seed: int = 0,
) -> Evaluation:
    """Score a model, trained or not.

    Args:
        pretraining: the model, with its CLIP head if it has one.
        train: patients to fit the linear probe and the alignment head on.
        val: held-out patients.
        seed: of retrieval pools and bootstrap.
    """
    model = pretraining.model
    fitted, held_out = encode_patients(model, train), encode_patients(model, val)
    probe = linear_probe(
        fitted.encoder_features,
        fitted.labels,
        held_out.encoder_features,
        held_out.labels,
        names=held_out.label_names,
        seed=seed,
    )
    volumes, reports = align(
        fitted.encoder_features,
        fitted.report_words,
        held_out.encoder_features,
        held_out.report_words,
    )
    own_head = zero_shot_probe = None
    head = pretraining.find(CLIP)
    if head is not None:
        own_head = retrieve(
            project_reports(head, held_out), project_volumes(head, held_out), seed=seed
        )
        zero_shot_probe = zero_shot(model, head, held_out, seed=seed)
    return Evaluation(probe, retrieve(reports, volumes, seed=seed), own_head, zero_shot_probe)


def gain(after: Probe, before: Probe, *, seed: int = 0) -> Score:
    """Difference of macro AUROC after and before training, with an interval over patients.

    The bootstrap is paired: both AUROCs of a draw are computed on the same patients.
    """
    # Only labels that both probes could score: a probe sets those it could not fit to NaN.
    labels = np.where(np.isnan(before.labels), np.nan, after.labels)
    return bootstrap(
        lambda p: (
            macro(aurocs(labels[p], after.scores[p])) - macro(aurocs(labels[p], before.scores[p]))
        ),
        len(labels),
        seed=seed,
    )


def summarise(after: Evaluation, before: Evaluation, *, seed: int = 0) -> dict[str, Any]:
    """The evaluation scores of `metrics.json`, with intervals and baselines.

    Keys without a suffix hold the value; `..._interval` the 95 % interval over patients. An
    undefined score (one held-out patient, a finding without positives, no CLIP head) is null.
    """
    best, untrained = after.retrieval_aligned, before.retrieval_aligned
    values: dict[str, Any] = {
        **named("probe_macro_auroc", after.probe.macro),
        **named("probe_macro_auroc_untrained", before.probe.macro),
        **named("probe_gain", gain(after.probe, before.probe, seed=seed)),
        "retrieval_protocol": "alignment head",
        **named("retrieval_recall_at_5", best.recall),
        **named("retrieval_recall_at_5_shuffled", best.shuffled),
        **named("retrieval_recall_at_5_untrained", untrained.recall),
        "retrieval_chance_at_5": best.chance,
        "retrieval_pool_size": best.pool_size,
        "zero_shot_macro_auroc": None,
        "held_out_patients": after.probe.macro.n,
        "probe_auroc_per_finding": _finite(after.probe.per_finding),
        "probe_auroc_per_finding_untrained": _finite(before.probe.per_finding),
    }
    if after.retrieval:
        values |= named("retrieval_own_head_recall_at_5", after.retrieval.recall)
        values |= named("retrieval_own_head_recall_at_5_shuffled", after.retrieval.shuffled)
    if after.zero_shot:
        values |= named("zero_shot_macro_auroc", after.zero_shot.macro)
        values["zero_shot_auroc_per_finding"] = _finite(after.zero_shot.per_finding)
    return values


def write_metrics(values: dict[str, Any], path: Path) -> None:
    """Write numbers as strict JSON; NaN and infinity become null."""
    path.write_text(json.dumps(_finite(values), indent=2, allow_nan=False) + "\n")


def named(name: str, score: Score | None) -> dict[str, Any]:
    """A score in the form of `metrics.json`: value and interval, both null if there is no score."""
    if score is None:
        return {name: None, f"{name}_interval": None}
    return {name: _finite(score.value), f"{name}_interval": _finite([score.low, score.high])}


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if isinstance(value, float | np.floating):
        return float(value) if math.isfinite(value) else None
    return value
