"""Made-up patients from bottom to top, in lung, soft tissue and bone windows: a picture each.

python -m data_prep.phantom.montage --patients 0 1 2 --output montages
"""

import argparse
import sys
from pathlib import Path

from mg3d.phantom.patient import draw_patient
from mg3d.phantom.scanner import draw_scan

SEED = 90_002  # of patients that nothing else draws
FIELD_MM = (350.0, 256.0, 370.0)


def main(arguments: list[str] | None = None) -> int:
    """Write the pictures, and print what each report would tell."""
    parser = argparse.ArgumentParser(
        prog="python -m data_prep.phantom.montage", description=__doc__
    )
    parser.add_argument("--patients", type=int, nargs="+", default=[0], help="which, from 0")
    parser.add_argument("--seed", type=int, default=SEED, help="of the patients")
    parser.add_argument("--output", type=Path, default=Path("montages"), help="folder")
    parser.add_argument("--voxel-mm", type=float, default=1.5, help="edge of a voxel, mm")
    parser.add_argument("--every-mm", type=float, default=20.0, help="between axial slices")
    parser.add_argument("--dpi", type=int, default=110)
    asked = parser.parse_args(arguments)
    if not 0.5 <= asked.voxel_mm <= asked.every_mm:
        print(f"--voxel-mm is 0.5 to --every-mm, got {asked.voxel_mm}", file=sys.stderr)
        return 2
    from mg3d.viz.montage import show_montage

    asked.output.mkdir(parents=True, exist_ok=True)
    shape = tuple(round(mm / asked.voxel_mm) for mm in FIELD_MM)
    for number in asked.patients:
        plan = draw_patient(asked.seed, number)
        scan = draw_scan(plan, shape, (asked.voxel_mm,) * 3)
        findings = ", ".join(finding.name for finding in plan.findings) or "no finding"
        figure = show_montage(
            scan.hu, scan.spacing_mm, every_mm=asked.every_mm,
            title=f"Made-up patient {number} of seed {asked.seed}", note=findings,
        )  # fmt: skip
        path = asked.output / f"patient_{asked.seed}_{number}.png"
        figure.savefig(path, dpi=asked.dpi)
        print(f"{path}: {findings}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
