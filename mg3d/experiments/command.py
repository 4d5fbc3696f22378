"""Command-line options that all experiments share: run folder, seeds, part of a job array.

Each `python -m mg3d.experiments.NAME` prints one tidy CSV to stdout, one row per run and score;
progress goes to stderr.
"""

import argparse
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mg3d.config import PRESETS
from mg3d.experiments.grid import (
    SOME_FAILED,
    Point,
    RunsFailedError,
    Work,
    run_grid,
    work_side_by_side,
)

Points = Callable[[argparse.Namespace], Sequence[Point]]


def grid_parser(
    module: str, description: str | None, *, folders: str | None = None, steps: bool = True
) -> argparse.ArgumentParser:
    """A parser with the options that all experiments share; an experiment can add more.

    Args:
        module: name after `python -m`, such as `mg3d.experiments.ablation`.
        description: the module's docstring.
        folders: number of prepared folders for `--data`, as argparse's `nargs`; None: one.
        steps: whether to offer `--steps`.
    """
    parser = argparse.ArgumentParser(
        prog=f"python -m {module}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", type=Path, nargs=folders, required=True, help="prepared folder")
    parser.add_argument(
        "--runs",
        type=Path,
        default=Path("runs/experiments"),
        help="folder that holds the runs",
    )
    parser.add_argument("--preset", default="tiny", choices=list(PRESETS))
    if steps:
        parser.add_argument("--steps", type=_positive, help="default: those of the preset")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="one run for each")
    parser.add_argument(
        "--parallel", type=_positive, default=1, help="runs at a time, one thread each"
    )
    parser.add_argument(
        "--point", type=_part, default=(1, 1), metavar="I/N",
        help="make every N-th run, starting with the I-th: for job arrays of a cluster",
    )  # fmt: skip
    return parser


def run_experiment(
    parser: argparse.ArgumentParser,
    points: Points,
    work: Work,
    arguments: list[str] | None = None,
    *,
    show: Mapping[str, Callable[[Any], str]] | None = None,
) -> None:
    """Read the command line, run what is not stored yet, and print the table of all runs.

    Args:
        parser: from `grid_parser`.
        points: makes the grid from the parsed arguments.
        work: makes one run; see `run_grid`.
        arguments: command-line arguments; None: those of the process.
        show: name of a switch -> function that formats the table instead of CSV.

    Raises:
        SystemExit: with a one-line message: status 2 if the arguments or the data are wrong, 3 if
            runs failed; the table then holds the others.
    """
    given = sys.argv[1:] if arguments is None else arguments
    asked = parser.parse_args(given)

    def log(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    failed = ""
    try:
        grid = points(asked)
        if asked.parallel > 1:
            module = parser.prog.split()[-1]
            work_side_by_side([module, *given, "--parallel", "1"], asked.parallel)
        table = run_grid(grid, work, asked.runs, part=asked.point, log=log)
    except RunsFailedError as error:
        table, failed = error.table, str(error)
    except (ValueError, FileNotFoundError) as error:
        parser.error(str(error))
    for switch, text_of in (show or {}).items():
        if getattr(asked, switch):
            print(text_of(table))
            break
    else:
        table.to_csv(sys.stdout, index=False)
    if failed:
        print(f"{parser.prog}: error: {failed}", file=sys.stderr)
        sys.exit(SOME_FAILED)


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, got {text}")
    return number


def _part(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"(\d+)/(\d+)", text)
    part = (int(found[1]), int(found[2])) if found else (0, 0)
    if not 1 <= part[0] <= part[1]:
        raise argparse.ArgumentTypeError(f"expected I/N with 1 <= I <= N, got {text}")
    return part
