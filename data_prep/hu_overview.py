"""Check the intensities of a prepared folder: peaks of air, lung, fat, soft tissue and bone.

    python -m data_prep.hu_overview --data prepared/ct_rate

Writes `hu_overview.png` into the folder (`intensity_overview.png` for volumes that are not in HU)
and prints the positions of the peaks. The histograms are stored in the files of the volumes; raw
files are not read.
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

PICTURES = {"HU": "hu_overview.png", "0 to 1": "intensity_overview.png"}


def write_overview(folder: str | Path) -> list[Path]:
    """Write the figures of a prepared folder and print its peaks; return the files written.

    Raises:
        FileNotFoundError: if this is no prepared folder, or a volume is missing.
        ValueError: if its volumes were prepared without a histogram.
    """
    from mg3d.viz.hu_overview import show_hu_overview

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
        title = "Is this data set in HU?" if unit == "HU" else "Histogram of its values"
        picture = io.BytesIO()
        figure = show_hu_overview(
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
        return f"{share}, no peak in any volume"
    middle, least, most = found["peak_hu"]
    peak = f"peak {middle:.0f} HU ({least:.0f} to {most:.0f})"
    return f"{share}, {peak}, in {found['volumes']} of {volumes} volumes"


def main(arguments: list[str] | None = None) -> int:
    """The command line; the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m data_prep.hu_overview",
        description="Draw the histogram of a prepared folder and print where its peaks lie.",
    )
    parser.add_argument("--data", type=Path, required=True, help="the prepared folder")
    asked = parser.parse_args(arguments)

    def work() -> None:
        write_overview(asked.data)

    return run(work)


if __name__ == "__main__":
    raise SystemExit(main())
