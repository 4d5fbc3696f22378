"""Pre-train from a shell: one process, or several under torchrun or accelerate launch.

    python -m mg3d.training --data PREPARED --output RUN --preset paper --batch-size 8
    torchrun --standalone --nproc_per_node 2 -m mg3d.training --data PREPARED --output RUN

Says on stderr where it computes and what it writes; prints one JSON line with the held-out losses
before and after.
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
    """What a run needs beside its settings."""

    data: Path  # prepared folder
    output: Path  # run folder
    preset: str = "tiny"  # its settings are the defaults: tiny, small, unet, swin_b, swin_l, paper
    config: Path | None = None  # a run's config.json, to start from its settings instead
    resume: bool = False  # continue the run in --output


def starting_point(arguments: Sequence[str]) -> PretrainConfig:
    """The settings that the command line changes: of a preset, or of a run's config.json.

    Raises:
        ValueError: if both are asked for, or there is no such preset.
        FileNotFoundError: if there is no such file.
    """
    given = {name: values[0] for name, values in given_values(arguments) if values}
    if "--config" not in given:
        return find_preset(given.get("--preset", Call.preset))
    if "--preset" in given:
        raise ValueError("--config and --preset are both starting points; give one of them")
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
        except KeyboardInterrupt:  # what was saved is said
            sys.exit(128 + signal.SIGINT)
    if rank() == 0:
        print(json.dumps({"steps": run.steps, "initial": run.initial, "final": run.final}))


def say(line: str) -> None:
    """A line for the reader, beside the output, which is one line of JSON."""
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
