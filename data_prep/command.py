"""Command-line options and exit status that all importers share.

Exit status: 0 if everything was taken, 3 if something was refused (listed in refused.csv), 2 for a
wrong call.
"""

import argparse
import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from mg3d.config import PRESETS
from mg3d.preparation.options import RunOptions, settings_of
from mg3d.preparation.records import DTYPES, Prepared, PrepareSettings
from mg3d.preparation.shards import Shard, parse_shard
from mg3d.volumes.grid import Grid

__all__ = [
    "add_arguments",
    "importer_parser",
    "options_from",
    "run",
    "settings_from",
    "settings_of",
]

WRONG_CALL = 2


def importer_parser(
    name: str, description: str, *, source: str, form: PrepareSettings | None = None
) -> argparse.ArgumentParser:
    """A parser with the options of every importer; an importer can add more.

    Args:
        name: of its module in `data_prep`.
        description: one sentence.
        source: help text of `--source`.
        form: default prepared form of the source, see `add_arguments`.
    """
    parser = argparse.ArgumentParser(
        prog=f"python -m data_prep.{name}",
        description=description,
        epilog="Exit status: 0 everything taken, 3 something refused (see refused.csv), "
        "2 wrong call.",
    )
    parser.add_argument("--source", type=Path, required=True, help=source)
    parser.add_argument("--output", type=Path, required=True, help="the prepared folder")
    add_arguments(parser, form)
    add_sharding(parser)
    return parser


def options_from(
    arguments: argparse.Namespace, default: PrepareSettings | None = None
) -> RunOptions:
    """Build the options from parsed arguments.

    Args:
        arguments: as parsed.
        default: as for `add_arguments`.

    Raises:
        ValueError: if the grid or the window is impossible.
    """
    return RunOptions(
        settings=settings_from(arguments, default),
        read_by=arguments.preset or "",
        shard=arguments.shard,
        force=arguments.force,
        workers=arguments.workers,
        progress=arguments.progress,
    )


def add_arguments(parser: argparse.ArgumentParser, default: PrepareSettings | None = None) -> None:
    """Add the options of the prepared form and of the run.

    Args:
        parser: receives the options.
        default: default prepared form of the source; None: that of the `tiny` preset.
    """
    words = "the source's own grid" if default else "tiny"
    parser.add_argument(
        "--preset", default=None, choices=PRESETS,
        help=f"model preset whose grid and HU window are made; default: {words}",
    )  # fmt: skip
    parser.add_argument(
        "--shape", type=int, nargs=3, metavar=("H", "W", "D"),
        help="voxels, instead of the preset's: up, forwards, to the patient's right",
    )  # fmt: skip
    parser.add_argument(
        "--spacing", type=float, nargs=3, metavar=("H", "W", "D"),
        help="mm; with --shape laid around the centre of the scan, without it the whole scan; "
        "0 keeps the scan's own; without --spacing, --shape stretches the scan",
    )  # fmt: skip
    parser.add_argument(
        "--hu-window", type=float, nargs=2, metavar=("LOW", "HIGH"), help="HU that become 0 and 1"
    )
    parser.add_argument("--dtype", default=None, choices=DTYPES, help="of the stored voxels")
    parser.add_argument(
        "--workers", type=int, default=None, help="processes; 0: none; default: one per core"
    )
    parser.add_argument(
        "--progress", action=argparse.BooleanOptionalAction, default=None,
        help="show a progress bar; default: in a terminal",
    )  # fmt: skip


def add_sharding(parser: argparse.ArgumentParser) -> None:
    """Add the options for sources too large for one machine or its disk."""
    parser.add_argument(
        "--shard", type=_shard, default=None, metavar="i/n",
        help="prepare only this part of the patients, as in a job array; when all n parts are "
        "there: python -m data_prep.merge --output OUTPUT",
    )  # fmt: skip
    parser.add_argument(
        "--force", action="store_true", help="go on although the disk seems too small"
    )


def settings_from(
    arguments: argparse.Namespace, default: PrepareSettings | None = None
) -> PrepareSettings:
    """Build the prepared form from parsed arguments.

    Args:
        arguments: as parsed.
        default: as for `add_arguments`.

    Raises:
        ValueError: if the grid or the window is impossible.
    """
    settings = RunOptions(preset=arguments.preset or "").with_form(default).settings
    assert settings is not None
    if arguments.shape or arguments.spacing:
        shape = tuple(arguments.shape) if arguments.shape else None
        spacing = tuple(s or None for s in arguments.spacing) if arguments.spacing else None
        settings = replace(settings, grid=Grid(shape, spacing))  # type: ignore[arg-type]
    if arguments.hu_window:
        settings = replace(settings, hu_window=tuple(arguments.hu_window))
    return replace(settings, dtype=arguments.dtype or settings.dtype)


def _shard(text: str) -> Shard:
    try:
        return parse_shard(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def run(work: Callable[[], Prepared | None]) -> int:
    """Run `work`, print its result or error, and return the exit status."""
    try:
        with _remarks_on_stderr():
            prepared = work()
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return WRONG_CALL
    if prepared is None:
        return 0
    print(prepared)
    return prepared.exit_status


@contextmanager
def _remarks_on_stderr() -> Iterator[None]:
    """Print log messages of the preparation to stderr, such as the disk space it needs."""
    log, handler = logging.getLogger("mg3d.preparation"), logging.StreamHandler()
    before = log.level
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(before)
