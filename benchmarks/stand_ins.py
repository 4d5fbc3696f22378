"""How well do stand-ins of the data sets separate a pipeline that works from one that does not?

`python -m benchmarks.stand_ins --folder FOLDER --tasks luna16 msd_lung --seeds 0 1 2 3 4` writes
made-up patients in a data set's official layout, imports them, runs the task, and runs it once more
with the labels dealt to other cases; each seed has other patients and other weights. It prints one
CSV line per task and seed: the first score with its interval over patients, chance, the best
trivial baseline, and the score with permuted labels. With `--summary` one line per task: mean and
standard deviation over seeds, the mean less four standard deviations (where a test may stand, if
that is above what permuted labels reach), and the highest upper end with permuted labels.

What is there already is kept; to measure again, give another folder.
"""

import argparse
import csv
import statistics
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from data_prep.acdc import prepare_acdc
from data_prep.cc_ccii import prepare_cc_ccii
from data_prep.covid19_20 import prepare_covid19_20
from data_prep.ctrg_chest import prepare_ctrg_chest
from data_prep.luna16 import prepare_luna16
from data_prep.msd import prepare_msd
from data_prep.phantom.layouts.__main__ import LAYOUTS
from data_prep.phantom.prepare import prepare_phantom
from data_prep.stoic2021 import prepare_stoic2021
from mg3d.evaluation.ledger import LEDGER, ledger_rows
from mg3d.evaluation.tasks.class_scores import CHANCE, MAJORITY, NEVER
from mg3d.evaluation.tasks.registry import find_task
from mg3d.evaluation.tasks.run import run_task
from mg3d.preparation.prepare import Prepared, PrepareSettings, RunOptions
from mg3d.volumes.grid import Grid
from mg3d.volumes.intensity import EightBit, Percentiles

COARSE = PrepareSettings(grid=Grid(None, (5.0, 4.0, 4.0)))
WINDOW = {"window": (32, 32, 32)}


@dataclass(frozen=True)
class StandIn:
    """A data set played by made-up patients.

    Attributes:
        patients: as many as the layout allows, or as run in minutes.
        importer: of data_prep; None: the phantom in CT-RATE's layout.
        form: prepared form; None: that of the importer.
        layout: of data_prep.phantom.layouts; "": named as the task.
        inside: folder in the layout that the importer is given.
        weights: initial ones.
        own: the task's own settings.
    """

    patients: int
    importer: Callable[..., Prepared] | None = None
    form: PrepareSettings | None = None
    layout: str = ""
    inside: str = ""
    weights: str = "scratch"
    own: Mapping[str, Any] = field(default_factory=dict)


STAND_INS = {  # by task
    "luna16": StandIn(
        40, prepare_luna16, PrepareSettings(grid=Grid(None, (4.0,) * 3)), own={"cube": 16}
    ),
    "cc_ccii": StandIn(
        120, prepare_cc_ccii, PrepareSettings(grid=Grid((32, 48, 48)), intensity=EightBit())
    ),
    "stoic2021": StandIn(
        160, prepare_stoic2021, PrepareSettings(grid=Grid((48, 32, 48), (8.0, 8.0, 8.0)))
    ),
    "msd_lung": StandIn(10, prepare_msd, COARSE, inside="Task06_Lung", own=WINDOW),
    "msd_colon": StandIn(10, prepare_msd, COARSE, inside="Task10_Colon", own=WINDOW),
    "covid19_20": StandIn(10, prepare_covid19_20, COARSE, inside="Train", own=WINDOW),
    "acdc": StandIn(
        40,
        prepare_acdc,
        PrepareSettings(grid=Grid(None, (None, 3.0, 3.0)), intensity=Percentiles()),
        own=WINDOW,
    ),
    "report_generation": StandIn(
        100,
        prepare_ctrg_chest,
        PrepareSettings(grid=Grid((32, 32, 48)), intensity=EightBit()),
        layout="ctrg_chest",
    ),
    "findings": StandIn(160),
    "zero_shot": StandIn(16, weights="tiny"),
    "retrieval": StandIn(16, weights="tiny"),
    "prompted": StandIn(160, weights="tiny"),
}
HELD_OUT = 64  # patients of the phantom in CT-RATE's layout
CHANCES = (CHANCE, NEVER, MAJORITY, "trivial: all background")  # that need no training patient
COLUMNS = (
    "task", "seed", "metric", "value", "low", "high", "num_patients", "chance", "chance_value",
    "baseline", "baseline_value", "permuted", "permuted_low", "permuted_high",
)  # fmt: skip
SUMMARY = (
    "task", "metric", "seeds", "mean", "sd", "mean_less_4_sd", "chance_value", "baseline_value",
    "permuted", "permuted_high",
)  # fmt: skip


def prepare_stand_in(task: str, seed: int, folder: Path, patients: int = 0) -> Path:
    """The prepared folder of a task's stand-in; made if it is not there.

    Args:
        task: of `STAND_INS`.
        seed: of the patients.
        folder: gets raw and prepared files.
        patients: how many; 0: as the table says.
    """
    about = STAND_INS[task]
    out = folder / "prepared"
    if (out / "manifest.csv").is_file():
        return out
    count = patients or about.patients
    if about.importer is None:
        held_out = min(HELD_OUT, 4 * count)
        prepare_phantom(out, patients=count, val_patients=held_out, seed=seed, workers=0)
        return out
    raw = folder / "raw"
    if not raw.is_dir():
        LAYOUTS[about.layout or task](raw, count, seed)
    about.importer(raw / about.inside, out, RunOptions(settings=about.form, workers=0))
    return out


def measure(
    task: str, seed: int, folder: Path, *, steps: int = 0, patients: int = 0
) -> dict[str, Any]:
    """One line of the table.

    Args:
        task: of `STAND_INS`.
        seed: of patients, weights and order.
        folder: of this task and seed.
        steps: of training; 0: the task's default.
        patients: of the stand-in; 0: as the table says.
    """
    data = prepare_stand_in(task, seed, folder, patients)
    plain, permuted = (
        _rows(task, seed, data, folder / name, steps, permute=permute)
        for name, permute in (("run", False), ("permuted", True))
    )
    first, control = plain[0], permuted[0]
    same = [row for row in plain if row["metric"] == first["metric"] and row["model"] in CHANCES]
    chance = same[0] if same else {"model": "", "value": ""}
    line = {name: first[name] for name in COLUMNS if name in first}
    return line | {
        "chance": chance["model"],
        "chance_value": chance["value"],
        "permuted": control["value"],
        "permuted_low": control["low"],
        "permuted_high": control["high"],
    }


def _rows(
    task: str, seed: int, data: Path, run: Path, steps: int, *, permute: bool
) -> list[dict[str, Any]]:
    if (run / LEDGER).is_file():
        return ledger_rows(run)
    config = find_task(task).defaults()
    config = replace(
        config,
        own=replace(config.own, **STAND_INS[task].own),
        run=replace(config.run, seed=seed),
        tuning=replace(config.tuning, permute_labels=permute),
        finetune=replace(config.finetune, total_steps=steps) if steps else config.finetune,
    )
    weights = STAND_INS[task].weights
    return run_task(task, data, weights, run, config, overwrite=True, log=_say).rows


def summary(lines: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """One line per task: mean, spread over seeds, and what it has to be above."""
    for task in dict.fromkeys(line["task"] for line in lines):
        own = [line for line in lines if line["task"] == task]
        values = [float(line["value"]) for line in own]
        sd = statistics.stdev(values) if len(values) > 1 else float("nan")
        yield {
            "task": task,
            "metric": own[0]["metric"],
            "seeds": len(own),
            "mean": statistics.mean(values),
            "sd": sd,
            "mean_less_4_sd": statistics.mean(values) - 4 * sd,
            "chance_value": _mean(own, "chance_value"),
            "baseline_value": _mean(own, "baseline_value"),
            "permuted": _mean(own, "permuted"),
            "permuted_high": max((float(one["permuted_high"]) for one in own), default=""),
        }


def _mean(lines: Sequence[Mapping[str, Any]], name: str) -> float | str:
    values = [float(line[name]) for line in lines if line[name] != ""]
    return statistics.mean(values) if values else ""


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def main(arguments: list[str] | None = None) -> None:
    """Read the command line; see the module's first lines."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.stand_ins",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--folder", type=Path, required=True, help="gets data and runs")
    parser.add_argument("--tasks", nargs="+", default=list(STAND_INS), choices=list(STAND_INS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--steps", type=int, default=0, help="of training; default: the task's")
    parser.add_argument("--patients", type=int, default=0, help="default: those of the table")
    parser.add_argument("--summary", action="store_true", help="one line per task")
    asked = parser.parse_args(arguments)
    lines = [
        measure(
            task, seed, asked.folder / task / str(seed),
            steps=asked.steps, patients=asked.patients,
        )
        for task in asked.tasks
        for seed in asked.seeds
    ]  # fmt: skip
    columns = SUMMARY if asked.summary else COLUMNS
    writer = csv.DictWriter(sys.stdout, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(summary(lines) if asked.summary else lines)


if __name__ == "__main__":
    main()
