"""Pre-train from a shell: one process, or several under torchrun or accelerate launch.

    python -m mg3d.training --data PREPARED --output RUN --preset paper --batch-size 8
    torchrun --standalone --nproc_per_node 2 -m mg3d.training --data PREPARED --output RUN

Prints the device and the run folder to stderr, and at the end one JSON line to stdout with the
held-out losses before and after training.
"""

import json
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mg3d.config import PretrainConfig, find_preset, read_config
from mg3d.config.command import errors_in_one_line, given_values, read_command
from mg3d.distributed import rank
from mg3d.training.loop import pretrain

PROG = "python -m mg3d.training"


@dataclass(frozen=True, kw_only=True)
class Call:
    """Options that are not settings."""

    data: Path  # prepared folder
    output: Path  # run folder
    preset: str = "tiny"  # default settings: tiny, small, unet, swin_b, swin_l, paper
    config: Path | None = None  # config.json of a run, whose settings replace the preset's
    resume: bool = False  # continue the run in --output


def starting_point(arguments: Sequence[str]) -> PretrainConfig:
    """Default settings of the command line: those of a preset, or of a run's config.json.

    Raises:
        ValueError: if both are given, or there is no such preset.
        FileNotFoundError: if there is no such file.
    """
    given = {name: values[0] for name, values in given_values(arguments) if values}
    if "--config" not in given:
        return find_preset(given.get("--preset", Call.preset))
    if "--preset" in given:
        raise ValueError("--config and --preset both give default settings; give one of them")
    return read_config(Path(given["--config"]))


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line and run."""
    arguments = sys.argv[1:] if arguments is None else arguments
    with errors_in_one_line(PROG):
        config = starting_point(arguments)
        call, config = read_command(
            Call, config, arguments, prog=PROG, description=__doc__.splitlines()[0]
        )
        try:
            run = pretrain(config, call.data, call.output, resume=call.resume, log=say)
        except KeyboardInterrupt:  # `fit` has logged what was saved
            sys.exit(128 + signal.SIGINT)
    if rank() == 0:
        print(json.dumps({"steps": run.steps, "initial": run.initial, "final": run.final}))


def say(line: str) -> None:
    """Print a message to stderr; stdout holds one line of JSON only."""
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
