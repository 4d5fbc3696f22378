"""Make the weights that come with the package: `mg3d.load_pretrained("tiny")`.

    python -m data_prep.phantom.shipped_weights --output mg3d/pretrained/shipped/tiny

makes three phantom data sets whose patients no lesson and no test draws, trains on each for longer
than a lesson can, evaluates on held-out patients, and stores the weights of the first one in half
precision, with a model card. What is made already is kept in `--work`, so that an interrupted call
goes on. The same machine and the same `--parallel` give the same bytes.
"""

import argparse
import math
import sys
from pathlib import Path
from typing import Any

from data_prep.phantom.prepare import prepare_phantom
from mg3d.config import change, find_preset
from mg3d.experiments.grid import Point, make_run, run_grid, work_side_by_side
from mg3d.experiments.scored import pretraining_point, score_pretraining
from mg3d.experiments.seeds import as_markdown
from mg3d.pretrained.load import load_pretrained
from mg3d.pretrained.shipped import write_example
from mg3d.training.step import Pretraining
from mg3d.weights.card import About

MODULE = "data_prep.phantom.shipped_weights"
PATIENT_SEEDS = (30_000, 30_001, 30_002)  # of phantom data sets used for nothing else
PATIENTS, HELD_OUT = 2_048, 256
STEPS = 1_800


def shipped_points(data: Path, steps: int, patients: int, held_out: int) -> list[Point]:
    """One run of the tiny preset per seed, each on its own patients, which are made if need be."""
    points = []
    for seed, patient_seed in enumerate(PATIENT_SEEDS):
        folder = data / f"phantom_{patient_seed}"
        prepare_phantom(folder, patients=patients, val_patients=held_out, seed=patient_seed)
        config = change(find_preset("tiny"), seed=seed, total_steps=steps)
        points.append(pretraining_point(config, folder, configuration="tiny"))
    return points


def ship(run: Path, table: Any, output: Path, *, patients: int, held_out: int) -> None:
    """Store a run's weights in half precision, with card and example.

    Args:
        run: folder of the run.
        table: scores of all seeds, from `run_grid`.
        output: folder to write.
        patients: that each run was trained on.
        held_out: patients that each was evaluated on.
    """
    trained = load_pretrained(run, part="pretraining", log=lambda _: None).module
    if not isinstance(trained, Pretraining) or trained.config is None:
        raise TypeError(f"{run} holds no pre-training with its settings")
    config = trained.config
    scores = {
        name: float(rows["value"].mean())
        for name, rows in table.groupby("score", sort=False)
        if name != "seconds" and math.isfinite(rows["value"].mean())
    }
    about = About(
        licence="apache-2.0",
        training_data=(
            f"{patients} made-up patients of `mg3d.phantom`, seed {PATIENT_SEEDS[0]}, drawn by no "
            f"lesson and no test; {config.optimisation.total_steps} steps of "
            f"{config.optimisation.batch_size} patients.\n\nMade by `python -m {MODULE} "
            "--output DIR`. The scores are means over "
            f"{table['seed'].nunique()} such runs, each with its own patients (seeds "
            f"{', '.join(map(str, PATIENT_SEEDS))}) and first weights; the weights are those of "
            f"the first. {held_out} held-out patients each:\n\n{as_markdown(table)}"
        ),
        phantom=True,
        metrics=scores,
    )
    trained.half().save_pretrained(output, about=about)
    stored = load_pretrained(output, part="pretraining", log=lambda _: None).module
    write_example(stored, config, output)


def main(arguments: list[str] | None = None) -> int:
    """Read the command line, train what is missing, store the weights."""
    parser = argparse.ArgumentParser(
        prog=f"python -m {MODULE}",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--output", type=Path, required=True, help="folder of the weights")
    parser.add_argument(
        "--work", type=Path, default=Path("runs/shipped"), help="data and runs, kept (%(default)s)"
    )
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--patients", type=int, default=PATIENTS, help="training patients")
    parser.add_argument("--held-out", type=int, default=HELD_OUT, help="patients to evaluate on")
    parser.add_argument("--parallel", type=int, default=1, help="runs at a time, one thread each")
    parser.add_argument("--only-train", action="store_true", help="train, but store nothing")
    given = sys.argv[1:] if arguments is None else arguments
    asked = parser.parse_args(given)
    points = shipped_points(asked.work / "data", asked.steps, asked.patients, asked.held_out)
    if asked.parallel > 1:
        work_side_by_side([MODULE, *given, "--parallel", "1", "--only-train"], asked.parallel)
    table = run_grid(points, score_pretraining, asked.work / "runs")
    if asked.only_train:
        return 0
    first = make_run(points[0], score_pretraining, asked.work / "runs")
    if first is None:
        raise RuntimeError(f"another process is making a run in {asked.work}; wait for it")
    ship(first, table, asked.output, patients=asked.patients, held_out=asked.held_out)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
