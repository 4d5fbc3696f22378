"""Who the phantom patients are: prevalence, what comes together, and attributes that make sense."""

import numpy as np
import pytest

from mg3d.data.labels import CT_RATE_FINDINGS
from mg3d.phantom.patient import LOBES, PREVALENCE, PatientPlan, draw_patient


@pytest.fixture(scope="module")
def plans() -> list[PatientPlan]:
    return [draw_patient(0, patient) for patient in range(4000)]


@pytest.fixture(scope="module")
def labels(plans):
    return np.stack([plan.labels() for plan in plans]).astype(float)


def test_every_finding_has_its_stated_prevalence(labels):
    stated = np.array([PREVALENCE[name][0] for name in CT_RATE_FINDINGS])
    error = np.sqrt(stated * (1 - stated) / len(labels))
    assert (np.abs(labels.mean(axis=0) - stated) < 4 * error).all()
    assert 0.17 < labels.mean() < 0.22


def test_about_one_patient_in_eleven_has_no_finding(labels):
    assert 0.07 < (labels.sum(axis=1) == 0).mean() < 0.12


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Arterial wall calcification", "Coronary artery wall calcification"),
        ("Cardiomegaly", "Pleural effusion"),
        ("Cardiomegaly", "Pericardial effusion"),
        ("Lung opacity", "Consolidation"),
        ("Emphysema", "Bronchiectasis"),
        ("Pleural effusion", "Interlobular septal thickening"),
    ],
)
def test_findings_of_one_cause_come_together(labels, one, other):
    a, b = (labels[:, CT_RATE_FINDINGS.index(name)] for name in (one, other))
    assert np.corrcoef(a, b)[0, 1] > 0.08


def test_findings_without_a_shared_cause_do_not(labels):
    a, b = (labels[:, CT_RATE_FINDINGS.index(n)] for n in ("Emphysema", "Consolidation"))
    assert abs(np.corrcoef(a, b)[0, 1]) < 0.08


def test_calcified_arteries_are_a_matter_of_age(plans):
    aged = [p.age for p in plans if any(f.name.startswith("Arterial") for f in p.findings)]
    assert np.mean(aged) > np.mean([p.age for p in plans]) + 8
    assert all(18 <= plan.age <= 90 for plan in plans)


def test_equal_numbers_give_equal_patients_in_any_order(plans):
    assert [draw_patient(0, patient) for patient in (17, 3, 17)] == [plans[17], plans[3], plans[17]]
    assert draw_patient(1, 3) != draw_patient(0, 3)


def test_a_lobe_belongs_to_its_side(plans):
    lobes = {*LOBES, ("both", "upper lobe"), ("both", "lower lobe")}
    for finding in (f for plan in plans for f in plan.findings if f.lobe is not None):
        assert (finding.side, finding.lobe) in lobes


def test_sizes_and_counts_stay_in_their_ranges(plans):
    ranges = {
        "Pericardial effusion": (5, 28),
        "Hiatal hernia": (30, 90),
        "Lymphadenopathy": (12, 38),
        "Lung nodule": (10, 30),
        "Pleural effusion": (10, 85),
    }
    for finding in (f for plan in plans for f in plan.findings):
        assert (finding.size_mm is not None) == (finding.name in ranges)
        if finding.size_mm is not None:
            low, high = ranges[finding.name]
            assert low <= finding.size_mm <= high
        assert 1 <= finding.count <= 5
        assert finding.severity in ("mild", "moderate", "severe")


def test_scans_vary_as_clinical_ones_do(plans):
    assert 0.2 < np.mean([plan.contrast for plan in plans]) < 0.3
    assert {plan.tube_kv for plan in plans} == {100, 120, 140}
    assert 0.03 < np.mean([plan.arms == "down" for plan in plans]) < 0.15
    assert all(0.5 <= plan.heart_motion_mm <= 3.5 for plan in plans)


def test_how_a_patient_is_scanned_tells_nothing_about_the_findings(plans, labels):
    contrast = np.array([plan.contrast for plan in plans], float)
    for column in labels.T:
        assert abs(np.corrcoef(contrast, column)[0, 1]) < 0.06


def test_plates_and_small_wedges_are_never_severe(plans):
    kinds = {
        (f.severity, f.kind) for plan in plans for f in plan.findings if f.name == "Atelectasis"
    }
    assert {kind for severity, kind in kinds if severity == "severe"} == {"volume loss"}
    assert ("mild", "volume loss") not in kinds
