"""The signs: each finding of the plan shows, where the plan says, and nothing else does."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from mg3d.data.labels import CT_RATE_FINDINGS
from mg3d.phantom.findings import SIGNS
from mg3d.phantom.patient import Finding, PatientPlan, draw_patient
from mg3d.phantom.scanner import PhantomScan, draw_scan
from mg3d.phantom.thorax import Variation

TINY = ((48, 32, 48), (7.5, 7.5, 7.5))
SINGLE = {  # every finding once, with an attribute set of its own
    "Medical material": {"kind": "pacemaker", "side": "left"},
    "Pericardial effusion": {"size_mm": 15.0},
    "Hiatal hernia": {"size_mm": 50.0},
    "Lymphadenopathy": {"kind": "hilar", "side": "right", "size_mm": 20.0, "count": 2},
    "Emphysema": {"kind": "centrilobular", "side": "both"},
    "Atelectasis": {"kind": "linear", "side": "left", "lobe": "lower lobe"},
    "Lung nodule": {"kind": "solid", "side": "right", "lobe": "upper lobe", "size_mm": 12.0},
    "Lung opacity": {"kind": "ground-glass", "side": "left", "lobe": "upper lobe"},
    "Pulmonary fibrotic sequela": {"side": "right", "lobe": "upper lobe"},
    "Pleural effusion": {"side": "left", "size_mm": 30.0},
    "Mosaic attenuation pattern": {"side": "both"},
    "Peribronchial thickening": {"side": "both"},
    "Consolidation": {"side": "right", "lobe": "lower lobe"},
    "Bronchiectasis": {"side": "left", "lobe": "lower lobe"},
    "Interlobular septal thickening": {"side": "both"},
}


def patient_with(*findings: Finding, patient: int = 1) -> PatientPlan:
    return PatientPlan(seed=3, patient=patient, sex="M", age=60, findings=findings)


def single(name: str) -> Finding:
    return Finding(name, "moderate", **SINGLE.get(name, {}))


@cache
def scan_of(plan: PatientPlan) -> PhantomScan:
    return draw_scan(plan, *TINY, variation=Variation(noise=0.0))


def middle(mask: np.ndarray) -> np.ndarray:
    """Mean place of a mask as fractions of the grid, upwards, forwards, to the right."""
    return (np.argwhere(mask).mean(axis=0) + 0.5) / mask.shape


def test_every_finding_of_ct_rate_has_a_sign():
    assert set(SIGNS) == set(CT_RATE_FINDINGS)


def shown(scan: PhantomScan) -> list[bool]:
    return [bool(scan.mask(name).any()) for name in CT_RATE_FINDINGS]


def test_masks_agree_with_the_labels_on_the_tiny_grid():
    for patient in range(60):
        plan = draw_patient(7, patient)
        assert shown(draw_scan(plan, *TINY)) == plan.labels().astype(bool).tolist(), plan


@pytest.mark.parametrize("patient", [0, 2])
def test_masks_agree_with_the_labels_on_a_fine_grid_of_long_voxels(patient):
    plan = draw_patient(7, patient)
    scan = draw_scan(plan, (80, 100, 144), (4.0, 2.5, 2.5))
    assert shown(scan) == plan.labels().astype(bool).tolist()


def test_masks_agree_with_the_labels_on_the_coarsest_grid():
    for patient in range(8):
        plan = draw_patient(8, patient)
        scan = draw_scan(plan, (32, 32, 32), (11.0, 7.5, 11.5))
        assert shown(scan) == plan.labels().astype(bool).tolist()


@pytest.mark.parametrize("name", CT_RATE_FINDINGS)
def test_a_sign_changes_hu_inside_its_mask(name):
    healthy, ill = scan_of(patient_with()), scan_of(patient_with(single(name)))
    change = np.abs(ill.hu.astype(float) - healthy.hu)
    mask = ill.mask(name)
    # The mask of a large heart is the whole heart, which changes at its surface.
    assert np.median(change[mask]) > 20 or (name == "Cardiomegaly" and change[mask].max() > 300)
    moved_by_design = {"Cardiomegaly", "Pericardial effusion", "Pleural effusion"}
    if name not in moved_by_design:
        assert np.mean(change[~mask] > 150) < 0.004


@pytest.mark.parametrize("name", [n for n in SINGLE if SINGLE[n].get("side") in ("left", "right")])
@pytest.mark.parametrize("side", ["left", "right"])
def test_a_sign_is_on_the_side_the_plan_says(name, side):
    finding = replace(single(name), side=side)
    scan = scan_of(patient_with(finding))
    to_the_right = middle(scan.mask(name))[2]
    assert to_the_right > 0.5 if side == "right" else to_the_right < 0.5
    # A pacemaker's lead crosses the midline; everything else stays on its side.
    half = scan.mask(name)[:, :, :21] if side == "right" else scan.mask(name)[:, :, 27:]
    assert name == "Medical material" or half.sum() <= 0.02 * scan.mask(name).sum()


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize(
    "name",
    ["Lung nodule", "Lung opacity", "Consolidation", "Bronchiectasis", "Atelectasis",
     "Pulmonary fibrotic sequela"],
)  # fmt: skip
def test_an_upper_lobe_is_above_a_lower_one(name, side):
    def height(lobe: str) -> float:
        finding = replace(single(name), side=side, lobe=lobe)
        masks = [scan_of(patient_with(finding, patient=p)).mask(name) for p in range(3)]
        return float(np.mean([middle(mask)[0] for mask in masks]))

    assert height("upper lobe") > height("lower lobe") + 0.05


@pytest.mark.parametrize("name", ["Lung opacity", "Pleural effusion", "Atelectasis"])
def test_a_sign_of_both_sides_is_on_both(name):
    scan = scan_of(patient_with(replace(single(name), side="both", lobe="lower lobe")))
    assert scan.mask(name)[:, :, :22].any()
    assert scan.mask(name)[:, :, 26:].any()


def test_the_heart_grows_with_severity():
    sizes = [
        scan_of(patient_with(Finding("Cardiomegaly", severity))).mask("Cardiomegaly").sum()
        for severity in ("mild", "moderate", "severe")
    ]
    assert sizes[0] * 1.1 < sizes[1]
    assert sizes[1] * 1.1 < sizes[2]


def test_a_larger_nodule_has_a_larger_mask():
    sizes = [
        scan_of(patient_with(replace(single("Lung nodule"), size_mm=mm))).mask("Lung nodule").sum()
        for mm in (12.0, 20.0, 30.0)
    ]
    assert sizes[0] < sizes[1] < sizes[2]


def test_a_nodule_measures_what_the_plan_says():
    plan = patient_with(replace(single("Lung nodule"), size_mm=24.0))
    scan = draw_scan(plan, (160, 128, 180), (2.0, 2.0, 2.0))
    extent = np.ptp(np.argwhere(scan.mask("Lung nodule")), axis=0) * 2.0
    assert (np.abs(extent - 24.0) <= 6.0).all(), extent


def test_fluid_gathers_at_the_back_and_the_base():
    height, front, _ = middle(
        scan_of(patient_with(single("Pleural effusion"))).mask("Pleural effusion")
    )
    assert height < 0.5
    assert front < 0.5


def test_signs_have_the_density_of_what_they_are():
    def median(name: str) -> float:
        scan = scan_of(patient_with(single(name)))
        return float(np.median(scan.hu[scan.mask(name)]))

    assert median("Medical material") > 600  # leads are thinner than these voxels
    assert median("Arterial wall calcification") > 200
    assert median("Coronary artery wall calcification") > 150
    assert -150 < median("Consolidation") < 60
    assert -60 < median("Pleural effusion") < 30
    assert -800 < median("Lung opacity") < -300
    assert median("Emphysema") < -900


def test_leaving_one_finding_out_leaves_the_others_where_they_are():
    nodule, opacity = single("Lung nodule"), single("Lung opacity")
    both, alone = scan_of(patient_with(nodule, opacity)), scan_of(patient_with(nodule))
    assert (both.mask("Lung nodule") == alone.mask("Lung nodule")).all()
