"""Show what the values of a prepared folder are: peaks of air, lung, fat, soft tissue and bone.

    python -m data_prep.report --data prepared/ct_rate

Writes `hu_report.png` into the folder (`intensity_report.png` for volumes that are no HU) and
prints where the peaks lie. The histograms are in the files of the volumes; nothing raw is read.
"""

import argparse
import io
from pathlib import Path
from typing import Any

from data_prep.command import run
from mg3d.data.manifest import read_manifest
from mg3d.data.prepared import read_facts
from mg3d.volumes.histogram import describe_landmarks, stack_histograms
from mg3d.volumes.volume import replace_file

PICTURES = {"HU": "hu_report.png", "0 to 1": "intensity_report.png"}


def write_report(folder: str | Path) -> list[Path]:
    """Write the pictures of a prepared folder and print its peaks; the files.

    Raises:
        FileNotFoundError: if this is no prepared folder, or a volume is missing.
        ValueError: if its volumes were prepared without a histogram.
    """
    from mg3d.viz.hu_report import show_hu_report

    manifest = read_manifest(Path(folder))
    paths = [manifest.folder / volume for volume in manifest.rows["volume"]]
    gone = [path for path in paths if not path.is_file()]
    if gone:
        raise FileNotFoundError(f"{len(gone)} of {len(paths)} volumes are missing, first {gone[0]}")
    facts = [read_facts(path) for path in paths]
    without = [path for path, fact in zip(paths, facts, strict=True) if "histogram" not in fact]
    if without:
        raise ValueError(
            f"{len(without)} of {len(paths)} volumes have no histogram, first {without[0]}; "
            "prepare the data again with this version"
        )
    written = []
    for unit, histograms in stack_histograms(facts).items():
        source = manifest.facts.get("source", "")
        title = "Is this data set in HU?" if unit == "HU" else "Where its values lie"
        picture = io.BytesIO()
        figure = show_hu_report(
            histograms.shares, histograms.edges, unit=unit, title=title, note=source
        )
        figure.savefig(picture, format="png", dpi=150, metadata={"Software": None})
        written.append(manifest.folder / PICTURES[unit])
        replace_file(written[-1], picture.getvalue())
        print(f"{written[-1]}: {len(histograms.names)} volumes, {unit}")
        if unit == "HU":
            for name, found in describe_landmarks(histograms).items():
                print(_line(name, found, len(histograms.names)))
    return written


def _line(name: str, found: dict[str, Any], volumes: int) -> str:
    low, high = found["range_hu"]
    share = f"{name:>12} {low:>6.0f} to {high:>5.0f} HU: {found['share'][0]:6.1%} of voxels"
    if found["peak_hu"] is None:
        return f"{share}, in no volume a peak"
    middle, least, most = found["peak_hu"]
    peak = f"peak {middle:.0f} HU ({least:.0f} to {most:.0f})"
    return f"{share}, {peak}, in {found['volumes']} of {volumes} volumes"


def main(arguments: list[str] | None = None) -> int:
    """The command line; the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m data_prep.report",
        description="Draw the histogram of a prepared folder and print where its peaks lie.",
    )
    parser.add_argument("--data", type=Path, required=True, help="the prepared folder")
    asked = parser.parse_args(arguments)

    def work() -> None:
        write_report(asked.data)

    return run(work)


if __name__ == "__main__":
    raise SystemExit(main())
