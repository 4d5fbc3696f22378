"""What pre-training was good for: every score beside its baseline, on patients never seen.

The untrained model goes through the very same protocols: random convolutions already know a good
deal about a volume, and only the difference was learned.
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
    retrieval: Retrieval | None  # with the model's own clip head, if it has one
    zero_shot: Probe | None  # likewise, of the labels that prompts are written for


def evaluate(
    pretraining: Pretraining,
    train: VolumeReportDataset,
    val: VolumeReportDataset,
    *,
    seed: int = 0,
) -> Evaluation:
    """Score a model, trained or not.

    Args:
        pretraining: the model, with its clip head if it has one.
        train: patients to fit probe and alignment head on.
        val: held-out patients.
        seed: of pools and bootstrap.
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
    own = scored = None
    head = pretraining.find(CLIP)
    if head is not None:
        own = retrieve(project_reports(head, held_out), project_volumes(head, held_out), seed=seed)
        scored = zero_shot(model, head, held_out, seed=seed)
    return Evaluation(probe, retrieve(reports, volumes, seed=seed), own, scored)


def gain(after: Probe, before: Probe, *, seed: int = 0) -> Score:
    """How much the macro AUROC rose, with an interval over patients (the same draws for both)."""
    labels = np.where(np.isnan(before.labels), np.nan, after.labels)
    return bootstrap(
        lambda p: (
            macro(aurocs(labels[p], after.scores[p])) - macro(aurocs(labels[p], before.scores[p]))
        ),
        len(labels),
        seed=seed,
    )


def summarise(after: Evaluation, before: Evaluation, *, seed: int = 0) -> dict[str, Any]:
    """The numbers of `metrics.json` that speak about learning, with intervals and baselines.

    Keys without a suffix hold the value; `..._interval` the 95 % interval over patients. A score
    that is undefined (one held-out patient, a finding nobody has, no clip head) is null.
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
    """Write numbers as strict JSON: what is not finite becomes null."""
    path.write_text(json.dumps(_finite(values), indent=2, allow_nan=False) + "\n")


def named(name: str, score: Score | None) -> dict[str, Any]:
    """A score as `metrics.json` holds it: the value and its interval; null where there is none."""
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
