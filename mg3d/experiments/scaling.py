"""Scaling: train models of several sizes on several numbers of patients, and compare.

    python -m mg3d.experiments.scaling --data DIR --sizes s m l --patients 32 128 512 2048 \
        --seeds 0 1 2 --steps 200 --objectives "only clip" > runs.csv

trains every combination and prints one row per run and score: trained weights, samples seen and
operations of the training, held-out losses (at the end, and at the best of some moments), linear
probe and retrieval. The patients of a smaller number are among those of a larger one, drawn anew
for each seed; the held-out patients, and those the probe is fitted on, are the same in all runs.

Sizes `s`, `m` and `l` are the `tiny` preset with narrower and wider layers. The study's own models
and numbers, as a job array of a cluster:

    python -m mg3d.experiments.scaling --data DIR --sizes swin_b swin_l --study --point I/N

Numbers are patients, of whom a data set may have several volumes: CT-RATE's 47,149 training volumes
are of 20,000 patients, and `--study` trains on 1,444 of them, the size of CTRG-Chest, and on all.
"""

import argparse
import tempfile
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

from mg3d.config import PretrainConfig, change, choose_objectives, find_preset
from mg3d.evaluation.metrics import Score
from mg3d.experiments.command import grid_parser, run_experiment
from mg3d.experiments.grid import SCORE_COLUMNS, Point, Scores
from mg3d.experiments.scored import config_of, settings_of

MODULE = "mg3d.experiments.scaling"
# name -> preset, and what is changed in it; each size has about a quarter of the next one's weights
SIZES: dict[str, tuple[str, dict[str, Any]]] = {
    "s": ("tiny", {"encoder_settings": {"channels": (4, 8, 12, 16)}, "dim": 32}),
    "m": ("tiny", {"encoder_settings": {"channels": (8, 16, 32, 48)}, "dim": 64}),
    "l": ("tiny", {"encoder_settings": {"channels": (16, 32, 64, 96)}, "dim": 128}),
    "swin_b": ("swin_b", {}),
    "swin_l": ("swin_l", {}),
}
ALL = "all"
STUDY = ("1444", ALL)  # CTRG-Chest's number and CT-RATE's, Source: MG-3D (arXiv 2412.05876)
MOMENTS = 5  # held-out losses are measured this often, evenly over the training
PROBED = 512  # training patients that the probe and the alignment head are fitted on


def sized(size: str, *, steps: int | None = None, objectives: str = "all") -> PretrainConfig:
    """Settings of a model size.

    Args:
        size: a key of `SIZES`.
        steps: of the training; None: those of the preset. The warm-up is at most a quarter of them.
        objectives: as for `choose_objectives`: "all", "only clip", "without mim ssm".

    Raises:
        ValueError: if there is no such size or objective.
    """
    if size not in SIZES:
        raise ValueError(f"size is one of {', '.join(SIZES)}; got '{size}'")
    preset, changes = SIZES[size]
    config = change(find_preset(preset), **changes)
    steps = steps or config.optimisation.total_steps
    return change(
        config,
        weights=choose_objectives(config.weights, objectives),
        total_steps=steps,
        warmup_steps=min(config.optimisation.warmup_steps, steps // 4),
    )


def scaling_point(
    config: PretrainConfig, data: Path, *, patients: int, probed: int = PROBED, **columns: str | int
) -> Point:
    """One run of the grid.

    Args:
        config: of the run.
        data: prepared folder.
        patients: that are trained on.
        probed: training patients of the folder that the probe is fitted on; 0: no probe and no
            retrieval.
        columns: more columns of the table, such as `size`.

    Raises:
        ValueError: if the patients do not fill a batch: contrastive losses of batches of different
            sizes cannot be compared.
    """
    if patients < config.optimisation.batch_size:
        raise ValueError(
            f"{patients} patients do not fill a batch of {config.optimisation.batch_size}, and "
            "contrastive losses depend on the batch; take more patients, or a smaller batch for "
            "the whole grid"
        )
    settings, free = settings_of(config)
    return Point(
        settings={
            **{"kind": "scaling", "config": settings, "patients": patients},
            **{"probed": probed, "moments": MOMENTS},
        },
        free=free,
        data=data,
        columns={
            **columns,
            "patients": patients,
            "seed": config.run.seed,
            "steps": config.optimisation.total_steps,
        },
    )


def scaling_points(asked: argparse.Namespace) -> list[Point]:
    """The grid. Seeds vary slowest, so that an interrupted run has complete seeds."""
    there = len(training_patients(asked.data))
    wanted = STUDY if asked.study else asked.patients
    numbers = [there if number == ALL else int(number) for number in wanted]
    if max(numbers) > there:
        raise ValueError(
            f"{asked.data} has {there} training patients, but {max(numbers)} are asked for; ask "
            f"for at most {there}, or for '{ALL}'"
        )
    return [
        scaling_point(
            change(sized(size, steps=asked.steps, objectives=objectives), seed=seed),
            asked.data,
            patients=patients,
            probed=asked.probed,
            size=size,
            objectives=objectives,
        )
        for seed, objectives, patients, size in product(
            asked.seeds, asked.objectives, numbers, asked.sizes
        )
    ]


def training_patients(data: Path) -> list[str]:
    """Every training patient of a prepared folder, in the order of its table."""
    from mg3d.data.manifest import read_manifest

    rows = read_manifest(data).rows
    return list(dict.fromkeys(rows.loc[rows["split"] == "train", "patient_id"]))


def choose_patients(patients: Sequence[str], count: int, seed: int) -> set[str]:
    """The first `count` patients in an order drawn from the seed.

    Raises:
        ValueError: if there are not that many.
    """
    import numpy as np

    if count > len(patients):
        raise ValueError(f"{count} of {len(patients)} patients cannot be chosen; ask for fewer")
    order = np.random.default_rng(seed).permutation(len(patients))
    return {patients[place] for place in order[:count]}


def keep_patients(data: Path, folder: Path, chosen: set[str]) -> Path:
    """Copy a prepared folder with some of its training patients and all others; volumes are linked.

    Args:
        data: prepared folder.
        folder: to write to; created.
        chosen: training patients to keep.
    """
    import pandas as pd

    folder.mkdir()
    for item in data.resolve().iterdir():
        if item.name != "manifest.csv":
            (folder / item.name).symlink_to(item)
    table = pd.read_csv(data / "manifest.csv", dtype=str, keep_default_na=False)
    kept = (table["split"] != "train") | table["patient_id"].isin(chosen)
    table[kept].to_csv(folder / "manifest.csv", index=False)
    return folder


def score_scaling(point: Point, folder: Path) -> Scores:
    """Train and evaluate one point; an interrupted training in `folder` is resumed."""
    from mg3d.training.devices import start_devices
    from mg3d.training.loop import pretrain
    from mg3d.training.patients import hidden_batches

    config = config_of(point)
    optimisation, seed = config.optimisation, config.run.seed
    config = change(config, validate_every=max(1, optimisation.total_steps // MOMENTS))
    patients, count = training_patients(point.data), point.settings["patients"]
    with tempfile.TemporaryDirectory() as temporary:
        chosen = choose_patients(patients, count, seed)
        few = keep_patients(point.data, Path(temporary) / "few", chosen)
        run = pretrain(config, few, folder, resume=True, progress=False, log=lambda _: None)
        devices = start_devices(precision="no", accumulation=optimisation.accumulation)
        text = run.pretraining.model.text_encoder
        first = next(iter(hidden_batches(run.train, run.config, text, devices)(range(1))))
        scores: dict[str, Score | float | int] = {
            **cost_scores(run, first),
            "training_patients": len(run.train.patients),
            "training_volumes": len(run.train),
            "held_out_patients": len(run.val.patients),
            "samples_seen": optimisation.total_steps * optimisation.batch_size,
            **losses_by_moment(run.history.rows),
        }
        if point.settings["probed"]:
            probed = set(patients[: point.settings["probed"]])
            fitted_on = keep_patients(point.data, Path(temporary) / "probed", probed)
            scores |= encoder_scores(run, fitted_on)
    return scores


def cost_scores(run: Any, batch: Any) -> dict[str, int]:
    """Trained weights, and operations of a step and of the whole training, counted on a batch.

    Args:
        run: a finished pre-training.
        batch: one of its micro-batches.
    """
    from mg3d.experiments.step_cost import step_cost

    device = next(run.pretraining.parameters()).device
    cost = step_cost(run.pretraining, batch.to(device), run.config.weights.active())
    parts = run.config.optimisation.batch_size // cost.patients  # micro-batches of a step
    return {
        "parameters": cost.parameters,
        "encoder_parameters": cost.encoder_parameters,
        "step_operations": cost.operations * parts,
        "training_operations": cost.operations * parts * run.steps,
    }


def losses_by_moment(history: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Held-out loss of each objective at every moment, at the end, and at the best moment.

    The best is chosen on the held-out patients themselves: it flatters runs that scatter, and
    says where early stopping could have ended.

    Args:
        history: rows of the run, `val_NAME` where it was measured.
    """
    scores: dict[str, float] = {}
    moments = [row for row in history if any(name.startswith("val_") for name in row)]
    for column in [name for name in moments[-1] if name.startswith("val_")]:
        name = column.removeprefix("val_")
        for row in moments:
            scores[f"loss_{name}_at_{int(row['step'])}"] = row[column]
        scores[f"loss_{name}"] = moments[-1][column]
        scores[f"loss_{name}_best"] = min(row[column] for row in moments)
    return scores


def encoder_scores(run: Any, fitted_on: Path) -> dict[str, Score]:
    """Probe and retrieval of the trained and the untrained encoder.

    Args:
        run: a finished pre-training.
        fitted_on: prepared folder; probe and alignment head are fitted on its training patients.
    """
    from mg3d.evaluation.summary import evaluate
    from mg3d.experiments.scored import probe_and_retrieval
    from mg3d.training.patients import load_patients
    from mg3d.training.step import build_pretraining

    text = run.pretraining.model.text_encoder
    train, val = load_patients(run.config, fitted_on, text.tokenizer)
    seed = run.config.run.seed
    before = evaluate(build_pretraining(run.config, text), train, val, seed=seed)
    after = evaluate(run.pretraining, train, val, seed=seed)
    return probe_and_retrieval(after, before, seed=seed)


def one_row_per_run(table: Any) -> Any:
    """The tidy table of an experiment as one row per run and one column per score.

    Args:
        table: one row per run and score.

    Returns a pandas DataFrame; intervals over patients are `SCORE_low` and `SCORE_high`. The name
    of the run's folder and columns without any number are left out.
    """
    row = [name for name in table if name not in (*SCORE_COLUMNS, "run")]
    wide = table.pivot(index=row, columns="score", values=["value", "low", "high"])
    wide.columns = [s if moment == "value" else f"{s}_{moment}" for moment, s in wide.columns]
    wide = wide.dropna(axis="columns", how="all").reset_index()
    return table[row].drop_duplicates().merge(wide, on=row)


def wide_csv(table: Any) -> str:
    """`one_row_per_run` as CSV with seven digits."""
    text: str = one_row_per_run(table).to_csv(index=False, float_format="%.7g")
    return text.rstrip()


def _number(text: str) -> str:
    if text != ALL and not (text.isdecimal() and int(text)):
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1 or '{ALL}'")
    return text


def main(arguments: list[str] | None = None) -> None:
    """Read the command line; see the module's first lines."""
    parser = grid_parser(MODULE, __doc__)
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=["s", "m", "l"])
    parser.add_argument(
        "--patients", nargs="+", type=_number, default=["32", "128", "512", "2048"],
        help=f"numbers to train on, or '{ALL}'",
    )  # fmt: skip
    parser.add_argument("--study", action="store_true", help="the study's numbers of patients")
    parser.add_argument(
        "--objectives", nargs="+", default=["all"], help="such as 'only clip' or 'without mim'"
    )
    parser.add_argument(
        "--probed", type=int, default=PROBED,
        help="training patients the probe is fitted on; 0: no probe",
    )  # fmt: skip
    parser.add_argument("--wide", action="store_true", help="one row per run, one column per score")
    show = {
        "wide": lambda table: (
            one_row_per_run(table).to_csv(index=False, float_format="%.7g").rstrip()
        )
    }
    run_experiment(parser, scaling_points, score_scaling, arguments, show=show)


if __name__ == "__main__":
    main()
