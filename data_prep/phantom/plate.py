"""The 18 findings on one plate for teachers: docs/findings.png.

python -m data_prep.phantom.plate --output docs/findings.png
"""

import argparse
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mg3d.data.labels import CT_RATE_FINDINGS
from mg3d.phantom.patient import Finding, PatientPlan
from mg3d.phantom.scanner import acquisition, draw_scan, draw_slices

if TYPE_CHECKING:
    from mg3d.viz.plate import Panel

SEED = 90_000  # of patients that nothing else draws
COARSE = ((70, 48, 70), (5.0, 5.0, 5.0))  # where the best slice is looked for
NOTE = (
    "Made-up patients of mg3d.phantom, axial slices of 1.5 mm, one finding each; orange: its mask. "
    "Not for clinical use."
)


@dataclass(frozen=True)
class View:
    """How a finding is shown: its attributes, the window, the section, the words below."""

    words: str
    window: str = "lung"
    width_mm: float | None = None  # None: the whole chest
    highest: float = 1.0  # the highest slice whose mask has this share of the largest area
    above_mm: float = 0.0  # how far above that slice
    outline: bool = True
    patient: int = 1
    severity: Any = "moderate"
    plan: dict[str, Any] = field(default_factory=dict)
    finding: dict[str, Any] = field(default_factory=dict)


CONTRAST = {"contrast": True}
VIEWS: dict[str, View] = {
    "Medical material": View(
        "Pacemaker on the left chest wall, lead in the vein", "bone", None,
        finding={"kind": "pacemaker", "side": "left"}, outline=False),
    "Arterial wall calcification": View(
        "Calcified plaques in the wall of the aortic arch", "soft tissue", 170, patient=8,
        severity="severe"),
    "Cardiomegaly": View("Markedly enlarged heart", "soft tissue", severity="severe", patient=4),
    "Pericardial effusion": View(
        "Pericardial effusion, 18 mm: moderate", "soft tissue", 210, 0.55,
        finding={"size_mm": 18.0}, plan=CONTRAST),
    "Coronary artery wall calcification": View(
        "Calcified plaques along the coronary arteries", "soft tissue", 170, severity="severe",
        patient=6),
    "Hiatal hernia": View(
        "Hiatal hernia of 50 mm with an air-fluid level", "soft tissue", 190,
        finding={"size_mm": 50.0}, plan=CONTRAST),
    "Lymphadenopathy": View(
        "Enlarged right paratracheal nodes, short axis 22 mm", "soft tissue", 160,
        finding={"kind": "paratracheal", "side": "right", "size_mm": 22.0, "count": 2},
        plan=CONTRAST),
    "Emphysema": View(
        "Centrilobular emphysema of the upper lobes", finding={
            "kind": "centrilobular", "side": "both", "lobe": "upper lobe"}, outline=False,
        severity="severe"),
    "Atelectasis": View(
        "Linear atelectasis in the left lower lobe", width_mm=180, patient=5,
        finding={"kind": "linear", "side": "left", "lobe": "lower lobe"}),
    "Lung nodule": View(
        "Solid nodule of 16 mm in the right upper lobe", width_mm=150,
        finding={"kind": "solid", "side": "right", "lobe": "upper lobe", "size_mm": 16.0}),
    "Lung opacity": View(
        "Ground-glass opacities in both lungs", finding={"kind": "ground-glass", "side": "both"},
        outline=False),
    "Pulmonary fibrotic sequela": View(
        "Fibrotic sequelae at the top of the right lung", width_mm=150, patient=3, above_mm=-15,
        finding={"side": "right", "lobe": "upper lobe"}),
    "Pleural effusion": View(
        "Right pleural effusion of 40 mm: moderate", "soft tissue", highest=0.55,
        finding={"side": "right", "size_mm": 40.0}),
    "Mosaic attenuation pattern": View(
        "Mosaic attenuation of both lungs", finding={"side": "both"}, outline=False, patient=5),
    "Peribronchial thickening": View(
        "Thick bronchial walls in both lungs", width_mm=200, finding={"side": "both"},
        severity="severe", outline=False),
    "Consolidation": View(
        "Consolidation with air bronchograms, right lower lobe", width_mm=180,
        finding={"side": "right", "lobe": "lower lobe"}, patient=2, outline=False),
    "Bronchiectasis": View(
        "Bronchiectasis of the left lower lobe", width_mm=170,
        finding={"side": "left", "lobe": "lower lobe"}, outline=False, patient=2),
    "Interlobular septal thickening": View(
        "Thick interlobular septa", width_mm=200, finding={"side": "both"}, outline=False),
}  # fmt: skip


def panel_of(name: str, view: View, pixel_mm: float) -> "Panel":
    """Draw the slice of one finding; `name` "" is a patient without any."""
    from mg3d.viz.plate import Panel

    findings = (Finding(name, view.severity, **view.finding),) if name else ()
    plan = PatientPlan(SEED, view.patient, "M", 60, findings, **view.plan)
    plan = _smooth(plan) if view.window == "soft tissue" else plan
    z_mm = _best_height(plan, name, view)
    shape = (round(350 / 1.5), round(246 / pixel_mm), round(360 / pixel_mm))
    middle = round(z_mm / 1.5 + (shape[0] - 1) / 2)
    spacing = (1.5, pixel_mm, pixel_mm)
    scan = draw_slices(plan, shape, spacing, range(middle, middle + 1))
    mask = scan.mask(name)[0] if name else None
    centre = None
    if mask is not None and mask.any() and view.width_mm:
        row, column = np.argwhere(mask).mean(axis=0).tolist()
        centre = row, column
    return Panel(
        title=name or "Normal",
        words=view.words,
        hu=scan.hu[0],
        spacing_mm=spacing[1:],
        window=view.window,
        mask=mask if view.outline else None,
        centre=centre,
        width_mm=view.width_mm,
    )


def _smooth(plan: PatientPlan) -> PatientPlan:
    """The same finding in the next patient whose scan has a smooth kernel."""
    while acquisition(plan).kernel.sharp:
        plan = replace(plan, patient=plan.patient + 100)
    return plan


def _best_height(plan: PatientPlan, name: str, view: View) -> float:
    """Scanner mm of the slice with most of the finding, or the highest with its share of that."""
    if not name:
        return 5.0
    area = draw_scan(plan, *COARSE).mask(name).sum(axis=(1, 2))
    slices = np.flatnonzero(area >= view.highest * area.max())
    return float((slices[-1] - (COARSE[0][0] - 1) / 2) * COARSE[1][0]) + view.above_mm


def main(arguments: list[str] | None = None) -> int:
    """Write the plate."""
    parser = argparse.ArgumentParser(prog="python -m data_prep.phantom.plate", description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("docs/findings.png"))
    parser.add_argument("--pixel-mm", type=float, default=0.8, help="size of a pixel, mm")
    parser.add_argument("--dpi", type=int, default=90)
    options = parser.parse_args(arguments)
    if not 0.3 <= options.pixel_mm <= 8:
        print(f"--pixel-mm is 0.3 to 8, got {options.pixel_mm}", file=sys.stderr)
        return 2
    from mg3d.viz.plate import show_plate

    panels = [panel_of("", View("No finding"), options.pixel_mm)]
    panels.append(
        panel_of("", View("No finding, with contrast material", "soft tissue", plan=CONTRAST), 1.0)
    )
    panels += [panel_of(name, VIEWS[name], options.pixel_mm) for name in CT_RATE_FINDINGS]
    figure = show_plate(panels, note=NOTE)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(options.output, dpi=options.dpi)
    return 0


if __name__ == "__main__":
    sys.exit(main())
