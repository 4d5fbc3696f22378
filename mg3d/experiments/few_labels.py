"""Few-label curves: what pre-training is worth when only some patients have labels.

    python -m mg3d.experiments.few_labels --data DIR --seeds 0 1 2 > runs.csv

pre-trains the preset with all its objectives, with CLIP alone, with MIM alone, and, as a control,
with each report replaced by another patient's; then fine-tunes each encoder, and one from scratch,
on the labels of 10, 20, 50 and 100 % of the training patients. The patients of a smaller share are
among those of a larger one, and the same for every start. Prints one row per run and score: the
start, the share, the task's scores with intervals over held-out patients, and its best trivial
baseline. Pre-trainings are stored beside the runs, and shared with other experiments.
"""

import argparse
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from mg3d.config import PretrainConfig, change, find_preset
from mg3d.data.manifest import read_manifest
from mg3d.evaluation.metrics import Score
from mg3d.experiments.command import grid_parser, run_experiment
from mg3d.experiments.grid import Point, Scores, make_run
from mg3d.experiments.reports import REPORTS
from mg3d.experiments.scored import pretraining_point, score_pretraining

MODULE = "mg3d.experiments.few_labels"
SCRATCH = "scratch"
SHARES = (10, 20, 50, 100)  # % of the training patients
TASKS = ("findings", "probe")
WAIT_SECONDS = 5.0  # for a pre-training that another process is making


def starts(preset: PretrainConfig) -> dict[str, tuple[PretrainConfig, str] | None]:
    """Where an encoder begins: name -> settings and reports of its pre-training; None: nowhere."""
    own, other = REPORTS
    return {
        "pre-trained": (preset, own),
        "only CLIP": (change(preset, weights=preset.weights.only("clip")), own),
        "only MIM": (change(preset, weights=preset.weights.only("mim")), own),
        "pre-trained, other patients' reports": (preset, other),
        SCRATCH: None,
    }


def few_label_points(asked: argparse.Namespace) -> list[Point]:
    """The grid: seeds vary slowest, so that an interrupted run has complete seeds."""
    wrong = [share for share in asked.shares if not 0 < share <= 100]
    if wrong:
        raise ValueError(f"shares are above 0 and up to 100 %, got {wrong[0]}")
    preset = find_preset(asked.preset)
    steps = asked.steps or preset.optimisation.total_steps
    rows = read_manifest(asked.data).rows
    patients = rows[rows["split"] == "train"]["patient_id"].nunique()
    points = []
    for seed in asked.seeds:
        for name, recipe in starts(preset).items():
            before = None
            if recipe is not None:
                config = change(recipe[0], seed=seed, total_steps=steps)
                before = pretraining_point(config, asked.data, reports=recipe[1])
            for share in asked.shares:
                count = max(1, round(patients * share / 100))
                points.append(_point(asked, name, before, share, count, seed))
    return points


def _point(
    asked: argparse.Namespace,
    start: str,
    before: Point | None,
    share: int,
    patients: int,
    seed: int,
) -> Point:
    return Point(
        settings={
            "kind": "few labels",
            "pretraining": None if before is None else before.settings,
            "preset": asked.preset,
            "task": asked.task,
            "tuning": asked.tuning,
            "task_steps": asked.task_steps,
            "patients": patients,
            "seed": seed,
        },
        free={} if before is None else dict(before.free),
        data=asked.data,
        columns={
            "start": start,
            "task": asked.task,
            "tuning": asked.tuning,
            "share": share,
            "labelled_patients": patients,
            "seed": seed,
        },
    )


def score_few_labels(point: Point, folder: Path) -> Scores:
    """Pre-train if that is not stored yet, then fine-tune with few labels and evaluate."""
    from mg3d.evaluation.tasks.run import run_task

    settings = point.settings
    weights = SCRATCH
    if settings["pretraining"] is not None:
        weights = str(pretrained(point, folder.parent))
    done = run_task(
        settings["task"], point.data, weights, folder / "task", task_config(settings),
        preset=settings["preset"], overwrite=True, progress=False, log=lambda _: None,
    )  # fmt: skip
    scores: dict[str, Score | float] = {}
    for row in done.rows:
        if row["baseline"] and ":" not in row["metric"]:  # no rows of baselines, nor of one label
            value, low, high = (_number(row[name]) for name in ("value", "low", "high"))
            scores[row["metric"]] = Score(value, low, high, row["num_patients"])
            scores[f"{row['metric']}_trivial"] = _number(row["baseline_value"])
    return scores


def pretrained(point: Point, runs: Path) -> Path:
    """Folder of the pre-training that a point begins with; made if it is not there."""
    before = Point(settings=point.settings["pretraining"], data=point.data, free=point.free)
    while (run := make_run(before, score_pretraining, runs, log=lambda _: None)) is None:
        time.sleep(WAIT_SECONDS)
    return run


def task_config(settings: Mapping[str, Any]) -> Any:
    """Settings of the fine-tuning that a point describes."""
    from mg3d.evaluation.tasks.registry import find_task

    config = find_task(settings["task"]).defaults()
    steps = settings["task_steps"]
    return replace(
        config,
        tuning=replace(
            config.tuning,
            tuning=settings["tuning"] or config.tuning.tuning,
            num_patients=settings["patients"],
        ),
        finetune=replace(config.finetune, total_steps=steps) if steps else config.finetune,
        run=replace(config.run, seed=settings["seed"]),
    )


def _number(cell: Any) -> float:
    return float("nan") if cell == "" else float(cell)


def main(arguments: list[str] | None = None) -> None:
    """Read the command line; see the module's first lines."""
    parser = grid_parser(MODULE, __doc__)
    parser.add_argument("--task", default=TASKS[0], choices=TASKS, help="that has the labels")
    parser.add_argument(
        "--tuning", default="", choices=("", "full", "frozen", "lora"), help="default: the task's"
    )
    parser.add_argument(
        "--task-steps", type=int, default=0, help="of fine-tuning; default: the task's"
    )
    parser.add_argument(
        "--shares", type=int, nargs="+", default=list(SHARES), help="of the labels, %%"
    )
    run_experiment(parser, few_label_points, score_few_labels, arguments)


if __name__ == "__main__":
    main()
