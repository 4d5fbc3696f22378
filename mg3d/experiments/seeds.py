"""The default run with several seeds: mean over seeds, range of seeds, interval over patients.

    python -m mg3d.experiments.seeds --data DIR_0 DIR_1 DIR_2 --seeds 0 1 2 > runs.csv

prints one row per run and score; with `--markdown`, the tables of the README. A seed decides masks
and initial weights; with one prepared folder per seed, as above, the patients differ as well. The
interval is the mean of the runs' 95 % intervals over held-out patients.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mg3d.config import change, find_preset
from mg3d.experiments.command import grid_parser, run_experiment
from mg3d.experiments.grid import Point
from mg3d.experiments.scored import pretraining_point, score_pretraining

MODULE = "mg3d.experiments.seeds"
SCORES = {
    "probe_macro_auroc_untrained": "linear probe, untrained encoder",
    "probe_macro_auroc": "linear probe, pre-trained",
    "probe_gain": "gain of the probe",
    "retrieval_recall_at_5_untrained": "Recall@5 of 64, alignment head, untrained encoder",
    "retrieval_recall_at_5": "Recall@5 of 64, alignment head, pre-trained",
    "retrieval_recall_at_5_shuffled": "the same, reports shuffled",
    "retrieval_own_head_recall_at_5": "Recall@5 of 64, the model's own `clip` head",
    "zero_shot_macro_auroc": "zero-shot, macro AUROC",
    "mlm_rise_with_another_patients_volume": "rise of MLM's loss with another patient's volume",
}


def seed_points(asked: argparse.Namespace) -> list[Point]:
    """One run per seed, all on one prepared folder or each on its own."""
    folders: list[Path] = asked.data
    if len(folders) not in (1, len(asked.seeds)):
        raise ValueError(
            f"expected one prepared folder, or one for each of the {len(asked.seeds)} seeds, got "
            f"{len(folders)}"
        )
    preset = find_preset(asked.preset)
    steps = asked.steps or preset.optimisation.total_steps
    return [
        pretraining_point(
            change(preset, seed=seed, total_steps=steps),
            folders[place % len(folders)],
            configuration=asked.preset,
        )
        for place, seed in enumerate(asked.seeds)
    ]


def score_rows(runs: Any) -> Iterator[dict[str, Any]]:
    """One row per score that all runs have: mean, interval, range over seeds, patients."""
    for name, meaning in SCORES.items():
        rows = runs[runs["score"] == name]
        if len(rows) == runs["run"].nunique() and rows["value"].notna().all():
            yield {
                "score": name,
                "meaning": meaning,
                "seeds": len(rows),
                "mean": float(rows["value"].mean()),
                "interval": [float(rows[end].mean()) for end in ("low", "high")],
                "of_seeds": [float(rows["value"].min()), float(rows["value"].max())],
                "patients": int(rows["n"].iloc[0]),
            }


def loss_rows(runs: Any) -> Iterator[dict[str, Any]]:
    """One row per loss: initial, final and trivial, mean over the runs."""
    losses = runs[runs["score"].str.startswith("loss_")]
    parts = losses["score"].str.split("_", expand=True)
    means = losses.groupby([parts[1], parts[2]], sort=False)["value"].mean().unstack(sort=False)
    for name, row in means.iterrows():
        yield {"loss": name} | {k: float(row[k]) for k in ("initial", "final", "trivial")}


def as_markdown(runs: Any) -> str:
    """Both tables, for the README."""
    lines = ["| score | mean | 95 % interval | seeds |", "|---|---|---|---|"]
    for row in score_rows(runs):
        digits = 5 if abs(row["mean"]) < 0.01 else 3
        seeds = " to ".join(f"{value:.{digits}f}" for value in row["of_seeds"])
        interval = ", ".join(f"{value:.{digits}f}" for value in row["interval"])
        lines.append(f"| {row['meaning']} | {row['mean']:.{digits}f} | [{interval}] | {seeds} |")
    lines += ["", "| held-out loss | start | end | trivial |", "|---|---|---|---|"]
    for row in loss_rows(runs):
        numbers = " | ".join(f"{row[key]:.3g}" for key in ("initial", "final", "trivial"))
        lines.append(f"| {row['loss'].upper()} | {numbers} |")
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> None:
    """Read the command line; see the module's first lines."""
    parser = grid_parser(MODULE, __doc__, folders="+")
    parser.add_argument("--markdown", action="store_true", help="tables instead of CSV")
    run_experiment(
        parser, seed_points, score_pretraining, arguments, show={"markdown": as_markdown}
    )


if __name__ == "__main__":
    main()
