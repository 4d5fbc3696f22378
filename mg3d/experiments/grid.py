"""A grid of runs: each is stored under a hash of what it depends on, and never repeated.

A `Point` describes one run. `run_grid` makes the runs that are not stored yet and returns the
scores of all of them as one tidy table. A second call with the same settings, data and code loads
the scores instead of training, and logs that. Several processes, or the jobs of a cluster's array,
may work on the same folder at once: a run that another process is making is skipped.
"""

import json
import math
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from mg3d.evaluation.metrics import Score
from mg3d.experiments.fingerprint import code_fingerprint, data_fingerprint, short_hash
from mg3d.volumes.volume import replace_file

SCORES, POINT = "scores.json", "point.json"
SCORE_COLUMNS = ("score", "value", "low", "high", "n")  # last columns of every table

Scores = Mapping[str, Score | float | int]  # a score without an interval is a plain number
Work = Callable[["Point", Path], Scores]


# What one run can die of and the next need not: NaN, memory, settings that do not fit the data.
FAILURES = (ArithmeticError, ValueError, RuntimeError, OSError)


SOME_FAILED = 3  # exit status of a command some of whose runs failed


class RunsFailedError(RuntimeError):
    """Some runs of a grid failed; the others were made and are kept.

    Args:
        failed: title of each run that failed -> its error.
        table: scores of the runs that are stored, as `run_grid` returns them.
    """

    def __init__(self, failed: Mapping[str, Exception], table: Any):
        title, first = next(iter(failed.items()))
        super().__init__(
            f"{len(failed)} runs of the grid failed, first {title} ({_line(first)}); the others "
            "are kept: mend the cause and call again, which makes the missing runs only"
        )
        self.failed, self.table = dict(failed), table


@dataclass(frozen=True, kw_only=True)
class Point:
    """One run of a grid.

    Attributes:
        settings: everything the numbers depend on besides data and code, JSON-serialisable.
        data: prepared folder to train on.
        columns: describe the run in the table, such as configuration and seed; not hashed.
        free: settings that do not change the numbers, such as `workers`; not hashed.
    """

    settings: Mapping[str, Any]
    data: Path
    columns: Mapping[str, str | int | float] = field(default_factory=dict)
    free: Mapping[str, Any] = field(default_factory=dict)

    def name(self, work: Work) -> str:
        """Name of the run's folder: a hash of settings, data and code."""
        return short_hash(self._facts(work))

    def _facts(self, work: Work) -> dict[str, Any]:
        return {
            "settings": self.settings,
            "data": data_fingerprint(self.data),
            "code": code_fingerprint(work),
        }


def run_grid(
    points: Sequence[Point],
    work: Work,
    folder: Path,
    *,
    part: tuple[int, int] = (1, 1),
    log: Callable[[str], None] = print,
) -> Any:
    """Make the runs that are not stored yet, and return the scores of all as a pandas DataFrame.

    Args:
        points: the grid.
        work: makes one run, given its point and the run's folder, and returns scores by name. The
            folder may hold files of an interrupted attempt, from which a training can resume.
        folder: holds one folder per run.
        part: (i, n) with 1 <= i <= n: this process makes every n-th run, starting with the i-th.
        log: receives one line per run.

    Raises:
        ValueError: if `part` is out of range, or two points of the grid are the same run.
        RunsFailedError: if runs failed, after all others were made; it holds the table of those.
    """
    number, of = part
    if not 1 <= number <= of:
        raise ValueError(f"a part is i/n with 1 <= i <= n, got {number}/{of}")
    names = [point.name(work) for point in points]
    twice = [i for i, name in enumerate(names) if name in names[:i]]
    if twice:
        raise ValueError(
            f"run {twice[0] + 1} of the grid has the same settings as an earlier one "
            f"({dict(points[twice[0]].columns)}); leave one of them out"
        )
    failed: dict[str, Exception] = {}
    for place in range(number - 1, len(points), of):
        try:
            make_run(points[place], work, folder, log=log)
        except FAILURES as error:
            failed[title_of(points[place], names[place])] = error
            log(f"{title_of(points[place], names[place])}: failed ({_line(error)})")
    table = table_of(points, work, folder, log=log)
    if failed:
        raise RunsFailedError(failed, table)
    return table


def make_run(
    point: Point, work: Work, folder: Path, *, log: Callable[[str], None] = print
) -> Path | None:
    """Make one run unless it is stored; its folder, or None if another process is making it.

    Args:
        point: describes the run.
        work: see `run_grid`.
        folder: holds one folder per run.
        log: receives one line.
    """
    name = point.name(work)
    run = folder / name
    title = title_of(point, name)
    if (run / SCORES).is_file():
        log(f"{title}: kept in {run}, not made again")
        return run
    run.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(run / ".lock", timeout=0):
            # Another process may have finished the run just before the lock was free.
            if not (run / SCORES).is_file():
                replace_file(run / POINT, _json({**point._facts(work), "columns": point.columns}))
                scores = work(point, run)
                replace_file(run / SCORES, _json({k: _plain(v) for k, v in scores.items()}))
                log(f"{title}: made in {run}")
    except Timeout:
        log(f"{title}: another process is making it in {run}")
        return None
    return run


def table_of(
    points: Iterable[Point], work: Work, folder: Path, *, log: Callable[[str], None] = print
) -> Any:
    """Scores of the stored runs: one row per run and score, as a pandas DataFrame.

    Columns: those of the points, `run` (name of its folder), `score`, `value`, `low`, `high` (the
    95 % interval over patients, empty for scores without one), `n` (patients).
    """
    import pandas as pd

    rows: list[dict[str, Any]] = []
    missing = 0
    columns: dict[str, None] = {}
    for point in points:
        columns |= dict.fromkeys(point.columns)
        name = point.name(work)
        if not (folder / name / SCORES).is_file():
            missing += 1
            continue
        for score, numbers in json.loads((folder / name / SCORES).read_text()).items():
            rows.append({**point.columns, "run": name, "score": score, **numbers})
    if missing:
        log(f"{missing} runs of the grid are not finished; they are missing in the table")
    return pd.DataFrame(rows, columns=[*columns, "run", *SCORE_COLUMNS])


def work_side_by_side(command: Sequence[str], processes: int) -> None:
    """Run the same command in several processes with one thread each; file locks divide the runs.

    Args:
        command: arguments after `python -m`; every process gets the same grid and folder.
        processes: number of processes.

    Raises:
        subprocess.CalledProcessError: if a process fails.
    """
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    running = [
        subprocess.Popen(
            [sys.executable, "-m", *command], env=environment, stdout=subprocess.DEVNULL
        )
        for _ in range(processes)
    ]
    for process in running:
        status = process.wait()
        if status not in (0, SOME_FAILED):  # a failed run keeps no other from being made
            raise subprocess.CalledProcessError(status, list(command))


def title_of(point: Point, name: str) -> str:
    """What a run is called in a line of the log: its columns, or else its name."""
    return " ".join(map(str, point.columns.values())) or name


def _line(error: Exception) -> str:
    return " ".join(f"{error}".split()) or type(error).__name__


def _plain(score: Score | float | int) -> dict[str, float | int | None]:
    if isinstance(score, Score):
        numbers = {"value": score.value, "low": score.low, "high": score.high}
        return {key: _finite(number) for key, number in numbers.items()} | {"n": score.n}
    return {"value": _finite(float(score))}


def _finite(number: float) -> float | None:
    return float(number) if math.isfinite(number) else None  # JSON has no NaN and no infinity


def _json(content: Mapping[str, Any]) -> bytes:
    return (json.dumps(content, indent=2, allow_nan=False) + "\n").encode()
