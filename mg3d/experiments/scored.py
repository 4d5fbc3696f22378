"""One pre-training of a grid: trained, and scored on held-out patients beside its baselines."""

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
    """A pre-training as a point of a grid.

    Args:
        config: of the run.
        data: prepared folder.
        reports: one of `REPORTS`: train with each patient's own report, or another patient's.
        columns: how the row is called in the table, such as `configuration`.
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
    """Settings that decide numbers, grouped as JSON holds them; and the free ones, by name."""
    settings: dict[str, Any] = json.loads(json.dumps(asdict(config)))
    home = group_of_settings()
    free = {
        name: settings[home[name]].pop(name) for name in sorted(FREE_SETTINGS | {"validate_every"})
    }
    return settings, free


def config_of(point: Point) -> PretrainConfig:
    """The settings a point was made of."""
    return change(parse_config(point.settings["config"], "a point of the grid"), **point.free)


def score_pretraining(point: Point, folder: Path) -> Scores:
    """Train one point and score it; a training that was interrupted goes on in its folder."""
    from mg3d.evaluation.other_volume import mlm_rise
    from mg3d.evaluation.trivial import trivial_losses
    from mg3d.training.loop import pretrain
    from mg3d.training.patients import load_patients
    from mg3d.training.step import build_pretraining

    config = change(config_of(point), validate_every=NEVER)
    with tempfile.TemporaryDirectory() as other:
        seen = point.data
        if point.settings["reports"] != "own":
            seen = Path(other)
            shuffle_reports(point.data, seen, config.run.seed)
        run = pretrain(config, seen, folder, resume=True, progress=False, log=lambda _: None)
    text = run.pretraining.model.text_encoder
    train, val = load_patients(run.config, point.data, text.tokenizer)  # with their own reports
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
    """Scores of a trained encoder beside those of the untrained one, in the same protocols."""
    return {
        "probe_macro_auroc_untrained": before.probe.macro,
        "probe_macro_auroc": after.probe.macro,
        "probe_gain": gain(after.probe, before.probe, seed=seed),
        "retrieval_recall_at_5_untrained": before.retrieval_aligned.recall,
        "retrieval_recall_at_5": after.retrieval_aligned.recall,
        "retrieval_recall_at_5_shuffled": after.retrieval_aligned.shuffled,
    }
