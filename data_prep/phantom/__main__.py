"""Make the phantom data set in CT-RATE's layout, and prepare it: the command."""

import argparse
from pathlib import Path

from data_prep.command import add_arguments, run, settings_from
from data_prep.phantom.prepare import PhantomSpec, prepare_phantom, write_phantom
from mg3d.preparation.prepare import Prepared


def main(arguments: list[str] | None = None) -> int:
    """The command line; the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m data_prep.phantom",
        description="Make the phantom data set in CT-RATE's layout, and prepare it.",
        epilog="Exit status: 0 everything taken, 3 something refused, 2 wrong call.",
    )
    parser.add_argument("--output", type=Path, required=True, help="the prepared folder")
    parser.add_argument("--patients", type=int, default=1024, help="for training")
    parser.add_argument("--val-patients", type=int, default=256, help="held out")
    parser.add_argument("--seed", type=int, default=0, help="another seed, other patients")
    parser.add_argument(
        "--reconstructions", type=int, default=1, choices=(1, 2, 3), help="most of each scan"
    )
    parser.add_argument(
        "--coarseness", type=float, default=None,
        help="raw spacing over a clinical one; 1 writes 512 x 512 slices; "
        "default: a little finer than the prepared grid",
    )  # fmt: skip
    parser.add_argument("--keep-raw", action="store_true", help="keep the raw files in OUTPUT/raw")
    parser.add_argument(
        "--raw-only", action="store_true",
        help="write the raw files straight into OUTPUT, for data_prep.ct_rate",
    )  # fmt: skip
    add_arguments(parser)
    asked = parser.parse_args(arguments)

    def work() -> Prepared | None:
        settings = settings_from(asked)
        how_many = {
            "patients": asked.patients,
            "val_patients": asked.val_patients,
            "seed": asked.seed,
            "reconstructions": asked.reconstructions,
            "coarseness": asked.coarseness,
        }
        how = {"workers": asked.workers, "progress": asked.progress}
        if asked.raw_only:
            write_phantom(asked.output, PhantomSpec(grid=settings.grid, **how_many), **how)
            return None
        return prepare_phantom(
            asked.output, settings=settings, keep_raw=asked.keep_raw, **how_many, **how
        )

    return run(work)


if __name__ == "__main__":
    raise SystemExit(main())
