"""The results ledger: one tidy row a score, with everything that is needed to read it.

Rows are computed from a run's saved predictions and its `run.json`, so any table can be rebuilt
without the model and without the data:

    python -m mg3d.evaluation.ledger RUN [RUN ...]  > ledger.csv
"""

import argparse
import json
import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mg3d.config.command import errors_in_one_line
from mg3d.evaluation.tasks.predictions import folder_of, read_predictions
from mg3d.evaluation.tasks.registry import find_task
from mg3d.evaluation.tasks.task import Measure, Predicted
from mg3d.volumes.volume import replace_file

PROG = "python -m mg3d.evaluation.ledger"
RUN, KNOWN, LEDGER = "run.json", "known.json", "ledger.csv"
COLUMNS = (
    "task", "dataset", "data_version", "split", "split_hash", "fold", "seed",
    "model", "tuning", "initialisation", "weights_hash", "loaded_share", "pretrained_on",
    "disjoint", "train_patients", "train_cases", "steps",
    "metric", "value", "low", "high", "num_cases", "num_patients",
    "baseline", "baseline_value",
    "selection_set", "threshold_set", "evaluation_set", "notes",
)  # fmt: skip


def ledger_rows(run: Path) -> list[dict[str, Any]]:
    """Rows of one run, from its files.

    Args:
        run: folder of `python -m mg3d.evaluation`.

    Raises:
        FileNotFoundError: if it is no such folder, or its predictions are missing.
    """
    path = run / RUN
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} is missing: {run} is no finished run of python -m mg3d.evaluation; give one"
        )
    facts = json.loads(path.read_text("utf-8"))
    kind = find_task(facts["task"])
    task = kind(kind.stored_config(facts["settings"]))
    known = run / KNOWN
    threshold = facts["row"]["threshold_set"]
    predicted = Predicted(
        read_predictions(folder_of(run, facts["row"]["evaluation_set"])),
        read_predictions(folder_of(run, threshold)) if threshold else (),
        json.loads(known.read_text("utf-8")) if known.is_file() else {},
        run,
        facts["row"]["seed"],
    )
    return rows_of(task.metrics(predicted), facts["row"])


def rows_of(measures: Sequence[Measure], about: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One row a measure, those of the model beside the best trivial baseline of the same metric.

    Args:
        measures: of the model and of baselines.
        about: the columns that all rows share.
    """
    rows = []
    for measure in measures:
        rivals = [m for m in measures if m.model and m.metric == measure.metric]
        best = max(rivals, key=_rank, default=None) if not measure.model else None
        score = measure.score
        notes = "; ".join(text for text in (measure.note, about.get("notes", "")) if text)
        own = {
            "model": measure.model or about["model"],
            "metric": measure.metric,
            "value": score.value,
            "low": score.low,
            "high": score.high,
            "num_cases": measure.num_cases,
            "num_patients": score.n,
            "baseline": best.model if best else "",
            "baseline_value": best.score.value if best else "",
            "notes": notes,
        }
        trivial = dict.fromkeys(("tuning", "initialisation", "weights_hash", "loaded_share"), "")
        rows.append({**about, **(trivial if measure.model else {}), **own})
    return [{name: _cell(row.get(name, "")) for name in COLUMNS} for row in rows]


def write_ledger(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write rows as CSV, atomically."""
    replace_file(path, to_csv(rows).encode())


def to_csv(rows: Iterable[Mapping[str, Any]]) -> str:
    """Rows as the text of a CSV file."""
    import csv
    import io

    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog=PROG, description="Compute the rows of finished runs from their saved predictions."
    )
    parser.add_argument("runs", type=Path, nargs="+", help="folders of runs, or of folders of runs")
    asked = parser.parse_args(arguments)
    with errors_in_one_line(PROG):
        rows = [row for run in find_runs(asked.runs) for row in ledger_rows(run)]
    sys.stdout.write(to_csv(rows))


def find_runs(folders: Iterable[Path]) -> list[Path]:
    """Every finished run in some folders; a folder without any is refused.

    Raises:
        FileNotFoundError: if a folder holds none.
    """
    runs: list[Path] = []
    for folder in folders:
        inside = sorted(path.parent for path in folder.rglob(RUN))
        if not inside:
            raise FileNotFoundError(f"{folder} holds no finished run ({RUN}); give one that does")
        runs += inside
    return runs


def _rank(measure: Measure) -> float:
    lower_is_better = measure.metric.startswith(("median_rank", "hd95"))
    value = measure.score.value
    if math.isnan(value):
        return -math.inf
    return -value if lower_is_better else value


def _cell(value: Any) -> Any:
    """A number of six decimals; an undefined one is an empty cell."""
    if isinstance(value, float):
        return "" if math.isnan(value) else round(value, 6)
    return value


if __name__ == "__main__":
    main()
