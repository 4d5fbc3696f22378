"""The first picture of the README: one made-up patient in three planes, its findings outlined.

python -m data_prep.phantom.first_look --output docs/first_look.png
"""

import argparse
from pathlib import Path

import numpy as np

from mg3d.phantom.patient import Finding, PatientPlan
from mg3d.phantom.scanner import draw_scan

SEED, PATIENT = 90_001, 3  # drawn by nothing else
SHAPE, SPACING_MM = (220, 150, 230), (1.6, 1.6, 1.6)
FINDINGS = (
    Finding("Lung nodule", "moderate", kind="solid", side="left", lobe="upper lobe", size_mm=14.0),
    Finding("Pleural effusion", "moderate", side="right", size_mm=45.0),
    Finding("Cardiomegaly", "moderate"),
)


def _place(masks: dict[str, np.ndarray]) -> tuple[int, int, int]:
    """Where the planes meet: axial through heart and fluid, the others through the nodule."""
    nodule, heart = masks["Lung nodule"], masks["Cardiomegaly"]
    axial = int(heart.sum(axis=(1, 2)).argmax())
    return axial, int(nodule.sum(axis=(0, 2)).argmax()), int(nodule.sum(axis=(0, 1)).argmax())


def main(arguments: list[str] | None = None) -> int:
    """Draw the picture."""
    parser = argparse.ArgumentParser(
        prog="python -m data_prep.phantom.first_look", description=__doc__
    )
    parser.add_argument("--output", type=Path, default=Path("docs/first_look.png"))
    parser.add_argument("--dpi", type=int, default=100)
    asked = parser.parse_args(arguments)
    from mg3d.viz.slices import show_planes

    scan = draw_scan(PatientPlan(SEED, PATIENT, "F", 62, FINDINGS), SHAPE, SPACING_MM)
    masks = {finding.name: scan.mask(finding.name) for finding in FINDINGS}
    figure = show_planes(
        scan.hu,
        scan.spacing_mm,
        at=_place(masks),
        mask=masks,
        title="One made-up patient, its findings outlined",
        note="not a real patient",
    )
    asked.output.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(asked.output, dpi=asked.dpi)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
