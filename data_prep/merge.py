"""Merge the shards of one preparation, after checking that none is missing.

    python -m data_prep.ct_rate --source dataset --output prepared/ct_rate --shard 1/8   # to 8/8
    python -m data_prep.merge --output prepared/ct_rate

The result has the same bytes as a single run.
"""

import argparse
from pathlib import Path

from data_prep.command import run
from mg3d.preparation.shards import merge


def main(arguments: list[str] | None = None) -> int:
    """The command line; the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m data_prep.merge",
        description="Merge the parts that --shard i/n has made, if every volume is there once.",
        epilog="Exit status: 0 everything taken, 3 something was refused (see refused.csv), "
        "2 something is missing or does not fit together.",
    )
    parser.add_argument("--output", type=Path, required=True, help="the prepared folder")
    asked = parser.parse_args(arguments)
    return run(lambda: merge(asked.output))


if __name__ == "__main__":
    raise SystemExit(main())
