"""Several runs of notebook 03 as one table: mean over seeds, range of seeds, interval of patients.

    papermill notebooks/03_pretrain.ipynb out.ipynb -p seed 1 -p output_dir runs/seed_1
    python -m mg3d.experiments.seeds runs/seed_0 runs/seed_1 runs/seed_2

prints one JSON line a score and one a loss; with `--markdown` the tables of the README. A seed
draws its own phantom patients, masks and weights. The interval is the mean of the runs' 95 %
intervals over held-out patients.
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

SCORES = {
    "probe_macro_auroc_untrained": "linear probe, untrained encoder",
    "probe_macro_auroc": "linear probe, pre-trained",
    "probe_gain": "gain of the probe",
    "retrieval_recall_at_5_untrained": "Recall@5 of 64, alignment head, untrained encoder",
    "retrieval_recall_at_5": "Recall@5 of 64, alignment head, pre-trained",
    "retrieval_recall_at_5_shuffled": "the same, reports shuffled",
    "retrieval_own_head_recall_at_5": "Recall@5 of 64, the model's own `clip` head",
    "zero_shot_macro_auroc": "zero-shot, macro AUROC",
    "mlm_rise_with_another_patients_volume": "MLM's loss with another patient's volume, less own",
}


def score_rows(runs: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """One row a score that all runs have."""
    for key, meaning in SCORES.items():
        values = [run[key] for run in runs if run.get(key) is not None]
        if len(values) == len(runs):
            low, high = np.mean([run[f"{key}_interval"] for run in runs], axis=0)
            yield {
                "score": key,
                "meaning": meaning,
                "seeds": len(values),
                "mean": float(np.mean(values)),
                "interval": [float(low), float(high)],
                "of_seeds": [float(min(values)), float(max(values))],
                "patients": runs[0]["held_out_patients"],
            }


def loss_rows(runs: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """One row a loss: initial, final and trivial, mean over the runs."""
    for name in runs[0]["losses"]:
        rows = [run["losses"][name] for run in runs]
        yield {"loss": name} | {key: float(np.mean([row[key] for row in rows])) for key in rows[0]}


def as_markdown(runs: list[dict[str, Any]]) -> str:
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


def main() -> None:
    """Read the command line; see the module's first lines."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", type=Path, nargs="+", help="output folders of notebook 03")
    parser.add_argument("--markdown", action="store_true", help="tables instead of JSON lines")
    arguments = parser.parse_args()
    runs = [json.loads((folder / "metrics.json").read_text()) for folder in arguments.runs]
    if arguments.markdown:
        print(as_markdown(runs))
        return
    for row in (*score_rows(runs), *loss_rows(runs)):
        print(json.dumps(row))


if __name__ == "__main__":
    main()
