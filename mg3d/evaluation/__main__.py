"""Fine-tune and evaluate on a downstream task: one process, or several under torchrun.

    python -m mg3d.evaluation luna16 --data PREPARED --weights scratch --output RUN
    torchrun --standalone --nproc_per_node 2 -m mg3d.evaluation luna16 --data PREPARED ...

Prints the rows of the ledger to stdout; messages go to stderr.
"""

import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mg3d.config.command import errors_in_one_line, read_command, stop
from mg3d.distributed import rank
from mg3d.evaluation.tasks.registry import TASKS, find_task
from mg3d.evaluation.tasks.settings import TaskConfig

PROG = "python -m mg3d.evaluation"


@dataclass(frozen=True, kw_only=True)
class Call:
    """Options that are not settings."""

    data: Path  # prepared folder
    weights: str  # scratch, tiny, a file or folder, or someone/model on the hub
    output: Path  # run folder
    preset: str = "tiny"  # network from scratch: tiny, small, unet, swin_b, swin_l
    evaluate_on: str = ""  # "test" or "val"; "": test where there is one
    external: str = ""  # another prepared folder to evaluate on, instead of --data
    resume: bool = False  # continue the run in --output
    overwrite: bool = False  # start again if --output holds a run


def read_call(arguments: Sequence[str]) -> tuple[str, Call, TaskConfig]:
    """The task, the options and the settings of a command line.

    Args:
        arguments: the task's name first.

    Raises:
        SystemExit: with one line on stderr and status 2 if they are wrong.
    """
    name, rest = arguments[0], arguments[1:]
    if name not in TASKS:
        stop(f"the task comes first and is one of {', '.join(TASKS)}; got '{name}'", PROG)
    kind = find_task(name)
    about = (kind.__doc__ or name).splitlines()[0]
    call, config = read_command(
        Call, kind.defaults(), rest, prog=f"{PROG} {name}", description=about
    )
    return name, call, config


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line and run."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if not arguments or arguments[0] in ("-h", "--help"):
        print(f"usage: {PROG} TASK --data DIR --weights WEIGHTS --output DIR [options]\n")
        print(f"{__doc__}\ntasks: {', '.join(TASKS)}\n{PROG} TASK --help lists every option")
        sys.exit(0 if arguments else 2)
    name, call, config = read_call(arguments)
    with errors_in_one_line(f"{PROG} {name}"):
        from mg3d.evaluation.ledger import to_csv
        from mg3d.evaluation.tasks.run import run_task

        try:
            run = run_task(
                name, call.data, call.weights, call.output, config,
                preset=call.preset, evaluate_on=call.evaluate_on,
                external=Path(call.external) if call.external else None,
                resume=call.resume, overwrite=call.overwrite, log=say,
            )  # fmt: skip
        except KeyboardInterrupt:  # `fit` has logged what was saved
            sys.exit(128 + signal.SIGINT)
    if rank() == 0:
        sys.stdout.write(to_csv(run.rows))


def say(line: str) -> None:
    """Print a message to stderr; stdout holds the rows only."""
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
