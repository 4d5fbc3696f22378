"""What every importer's command line shares: the grid, the workers, and the exit status.

Exit status: 0 if everything was taken, 3 if something was refused (listed in refused.csv), 2 for a
wrong call.
"""

import argparse
import sys
from collections.abc import Callable

from mg3d.config import PRESETS, find_preset
from mg3d.data.grid import Grid
from mg3d.data.prepare import DTYPES, Prepared, PrepareSettings

WRONG_CALL = 2


def settings_of(preset: str) -> PrepareSettings:
    """The prepared form that a model preset reads.

    Raises:
        ValueError: if there is no such preset.
    """
    config = find_preset(preset)
    grid = Grid(config.volume_shape, config.spacing_mm, config.crop)
    return PrepareSettings(grid=grid, hu_window=config.hu_window)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The prepared form and how to work."""
    parser.add_argument(
        "--preset", default="tiny", choices=PRESETS, help="model preset whose grid is made"
    )
    parser.add_argument(
        "--shape", type=int, nargs=3, metavar=("H", "W", "D"),
        help="voxels, instead of the preset's: up, forwards, to the patient's right",
    )  # fmt: skip
    parser.add_argument(
        "--spacing", type=float, nargs=3, metavar=("H", "W", "D"),
        help="mm, laid around the centre of the scan; without it, --shape stretches the scan",
    )  # fmt: skip
    parser.add_argument("--dtype", default="uint8", choices=DTYPES, help="of the stored voxels")
    parser.add_argument(
        "--workers", type=int, default=None, help="processes; 0: none; default: one per core"
    )
    parser.add_argument(
        "--progress", action=argparse.BooleanOptionalAction, default=None,
        help="show a progress bar; default: in a terminal",
    )  # fmt: skip


def settings_from(arguments: argparse.Namespace) -> PrepareSettings:
    """The prepared form asked for on the command line.

    Raises:
        ValueError: if --spacing is given without --shape, or the grid is impossible.
    """
    settings = settings_of(arguments.preset)
    grid = settings.grid
    if arguments.shape:
        spacing = tuple(arguments.spacing) if arguments.spacing else None
        grid = Grid(tuple(arguments.shape), spacing)
    elif arguments.spacing:
        raise ValueError("--spacing needs --shape: how many voxels of that size?")
    return PrepareSettings(grid=grid, hu_window=settings.hu_window, dtype=arguments.dtype)


def run(work: Callable[[], Prepared | None]) -> int:
    """Do the work, print what came of it; the exit status."""
    try:
        prepared = work()
    except (ValueError, FileNotFoundError) as error:
        print(f"error: {error}", file=sys.stderr)
        return WRONG_CALL
    if prepared is None:
        return 0
    print(prepared)
    return prepared.exit_status
