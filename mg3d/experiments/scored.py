"""One pre-training run of a grid: train it, then evaluate it on held-out patients."""

import json
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mg3d.config import PretrainConfig, change, parse_config
from mg3d.config.change import group_of_settings
from mg3d.evaluation.metrics import Score
from mg3d.evaluation.summary import Evaluation, evaluate, gain
from mg3d.experiments.grid import Point, Scores
from mg3d.experiments.reports import REPORTS, shuffle_reports
from mg3d.training.loop import FREE_SETTINGS

NEVER = 10**9  # steps


def pretraining_point(
    config: PretrainConfig, data: Path, *, reports: str = "own", **columns: str | int
) -> Point:
    """A pre-training run as a point of a grid.

    Args:
        config: of the run.
        data: prepared folder.
        reports: one of `REPORTS`: train with each patient's own report, or another patient's.
        columns: more columns of the table, such as `configuration`.
    """
    if reports not in REPORTS:
        raise ValueError(f"reports is one of {REPORTS}, got '{reports}'")
    settings, free = settings_of(config)
    return Point(
        settings={"kind": "pre-training", "config": settings, "reports": reports},
        free=free,
        data=data,
        columns={
            **columns,
            "reports": reports,
            "seed": config.run.seed,
            "steps": config.optimisation.total_steps,
        },
    )


def settings_of(config: PretrainConfig) -> tuple[dict[str, Any], dict[str, Any]]:
    """Settings that decide the numbers, as nested JSON, and those that do not, by name."""
    settings: dict[str, Any] = json.loads(json.dumps(asdict(config)))
    home = group_of_settings()
    free = {
        name: settings[home[name]].pop(name) for name in sorted(FREE_SETTINGS | {"validate_every"})
    }
    return settings, free


def config_of(point: Point) -> PretrainConfig:
    """The settings of the run that a point describes."""
    return change(parse_config(point.settings["config"], "a point of the grid"), **point.free)


def score_pretraining(point: Point, folder: Path) -> Scores:
    """Train and evaluate one point; an interrupted training in `folder` is resumed."""
    from mg3d.evaluation.other_volume import mlm_rise
    from mg3d.evaluation.trivial import trivial_losses
    from mg3d.training.loop import pretrain
    from mg3d.training.patients import load_patients
    from mg3d.training.step import build_pretraining

    config = change(config_of(point), validate_every=NEVER)
    with tempfile.TemporaryDirectory() as temporary:
        data = point.data
        if point.settings["reports"] != "own":
            data = Path(temporary)
            shuffle_reports(point.data, data, config.run.seed)
        run = pretrain(config, data, folder, resume=True, progress=False, log=lambda _: None)
    text = run.pretraining.model.text_encoder
    # Evaluation always uses the reports as they are, in the control as well.
    train, val = load_patients(run.config, point.data, text.tokenizer)
    seed = config.run.seed
    before = evaluate(build_pretraining(config, text), train, val, seed=seed)
    after = evaluate(run.pretraining, train, val, seed=seed)
    trivial = trivial_losses(run.pretraining, train, val, run.config)
    scores: dict[str, Score | float | int | None] = {
        **probe_and_retrieval(after, before, seed=seed),
        "retrieval_own_head_recall_at_5": after.retrieval.recall if after.retrieval else None,
        "zero_shot_macro_auroc": after.zero_shot.macro if after.zero_shot else None,
        "mlm_rise_with_another_patients_volume": mlm_rise(
            run.pretraining, val, run.config, "cpu", seed=seed
        ),
        "training_patients": len(train.patients),
        "held_out_patients": len(val.patients),
        "seconds": round(run.seconds, 1),
    }
    for name in run.final:
        losses = (run.initial[name], run.final[name], trivial.losses[name])
        for moment, loss in zip(("initial", "final", "trivial"), losses, strict=True):
            scores[f"loss_{name}_{moment}"] = loss
    return {name: score for name, score in scores.items() if score is not None}


def probe_and_retrieval(after: Evaluation, before: Evaluation, *, seed: int) -> dict[str, Score]:
    """Linear probe and retrieval of the trained and of the untrained encoder."""
    return {
        "probe_macro_auroc_untrained": before.probe.macro,
        "probe_macro_auroc": after.probe.macro,
        "probe_gain": gain(after.probe, before.probe, seed=seed),
        "retrieval_recall_at_5_untrained": before.retrieval_aligned.recall,
        "retrieval_recall_at_5": after.retrieval_aligned.recall,
        "retrieval_recall_at_5_shuffled": after.retrieval_aligned.shuffled,
    }
