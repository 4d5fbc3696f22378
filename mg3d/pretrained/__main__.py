"""The checkpoint doctor from a shell: what is in this file, and would it be loaded?

    python -m mg3d.pretrained PATH

Prints the report. Exit status: 0 if the weights would be used, 3 if they are refused, 2 for a wrong
call.
"""

import argparse
import sys

from mg3d.pretrained.find import PARTS
from mg3d.pretrained.load import load_pretrained
from mg3d.weights.doctor import MIN_SHARE, CheckpointError, Report


def main(arguments: list[str] | None = None) -> int:
    """Read the command line, examine, return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m mg3d.pretrained",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("path", metavar="PATH", help="file, folder, or someone/model on the hub")
    parser.add_argument("--part", choices=PARTS, default="encoder")
    parser.add_argument("--merging", choices=("monai", "released"), help="else the layout decides")
    parser.add_argument(
        "--min-share", type=float, default=MIN_SHARE, metavar="SHARE", help="0 to 1 (%(default)s)"
    )
    parser.add_argument("--filename", help="the file to take of a hub repository")
    parser.add_argument("--names", action="store_true", help="list every tensor and its fate")
    given = parser.parse_args(arguments)
    if not 0 <= given.min_share <= 1:
        parser.error(f"--min-share is a share between 0 and 1, got {given.min_share}")
    try:
        loaded = load_pretrained(
            given.path,
            part=given.part,
            merging=given.merging,
            min_share=given.min_share,
            filename=given.filename,
        )
    except FileNotFoundError as error:
        parser.error(str(error))
    except CheckpointError as error:
        if given.names:
            print_names(error.report)
        return 3  # the report, printed already, ends with the verdict
    except ValueError as error:
        print(f"verdict     {error}", file=sys.stderr)
        return 3
    if given.names:
        print_names(loaded.report)
    return 0


def print_names(report: Report) -> None:
    """One line per name, fate first."""
    for fate, name in report.fates():
        print(f"{fate:<11} {name}")


if __name__ == "__main__":
    sys.exit(main())
