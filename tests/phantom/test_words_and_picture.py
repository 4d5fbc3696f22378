"""What a report says and what is drawn are the same: sizes, severities, lobes and sides."""

import re
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from mg3d.data.labels import CT_RATE_FINDINGS
from mg3d.phantom import surfaces
from mg3d.phantom.findings_heart import hernia_sac, lymph_nodes
from mg3d.phantom.findings_lung import nodules
from mg3d.phantom.patient import SIZES, Finding, PatientPlan, draw_patient, stream
from mg3d.phantom.report import write_report
from mg3d.phantom.scanner import PhantomScan, draw_scan
from mg3d.phantom.surfaces import SIGN
from mg3d.phantom.thorax import Thorax, Variation, draw_thorax

PATIENTS = 1_000
MEASURED = (
    "Lung nodule", "Lymphadenopathy", "Hiatal hernia", "Pericardial effusion", "Pleural effusion",
)  # fmt: skip


@pytest.fixture(scope="module")
def plans() -> list[PatientPlan]:
    return [draw_patient(21, patient) for patient in range(PATIENTS)]


@pytest.fixture(scope="module")
def measured(plans) -> list[tuple[PatientPlan, Thorax, Finding]]:
    """Every measured finding of the patients, with the build it is drawn in."""
    found = []
    for plan in plans:
        here = [finding for finding in plan.findings if finding.name in MEASURED]
        build = draw_thorax(plan, Variation()) if here else None
        found += [(plan, build, finding) for finding in here if build is not None]
    return found


def numbers(plan: PatientPlan, finding: Finding) -> np.random.Generator:
    return stream(plan.seed, plan.patient, "findings", CT_RATE_FINDINGS.index(finding.name))


def drawn_mm(plan: PatientPlan, build: Thorax, finding: Finding) -> float:
    """What a ruler would show of the sign's shape, mm."""
    rng = numbers(plan, finding)
    if finding.name == "Lung nodule":  # longest diameter of the largest
        return 2 * max(max(ball.radii) for ball in nodules(finding, build, rng))
    if finding.name == "Lymphadenopathy":  # short axis of the largest
        return 2 * max(min(ball.radii) for ball in lymph_nodes(finding, build, rng))
    if finding.name == "Hiatal hernia":
        return 2 * max(hernia_sac(finding, build, rng).radii)
    if finding.name == "Pleural effusion":
        side = "left" if finding.side == "both" else str(finding.side)
        levels = np.linspace(-140, 140, 281)
        return float(surfaces.fluid_thickness(build, side, levels).max())
    x, y, z = np.random.default_rng(0).uniform(-90, 90, (3, 4000))
    place = [c + v for c, v in zip(build.heart_centre, (x, y, z), strict=True)]
    return float(np.max(surfaces.pericardial_fluid(build, *place)))


def test_every_drawn_size_is_the_size_that_is_said(measured):
    assert {finding.name for _, _, finding in measured} == set(MEASURED)
    for plan, build, finding in measured:
        assert drawn_mm(plan, build, finding) == pytest.approx(finding.size_mm, abs=0.5), finding


def test_severity_and_size_say_the_same(plans):
    for finding in (f for plan in plans for f in plan.findings if f.name in SIZES):
        low, high = SIZES[finding.name][finding.severity]
        assert low <= finding.size_mm <= high, finding
    assert SIZES["Pericardial effusion"]["moderate"] == (10, 20)


def test_every_nodule_lies_in_the_lobe_and_side_that_are_said(measured):
    for plan, build, finding in (m for m in measured if m[2].name == "Lung nodule"):
        balls = nodules(finding, build, numbers(plan, finding))
        assert balls
        for ball in balls:
            x, y, z = (np.array([c]) for c in ball.centre)
            assert SIGN[str(finding.side)] * x[0] > 0
            lobe = surfaces.lobe(build, str(finding.side), finding.lobe, x, y, z)[0]
            assert lobe > 0
            assert surfaces.lung(build, str(finding.side), x, y, z, z)[0] > 0


def test_as_many_nodules_are_drawn_as_are_said(measured):
    cases = [m for m in measured if m[2].name == "Lung nodule"]
    same = [len(nodules(f, build, numbers(p, f))) == f.count for p, build, f in cases]
    assert np.mean(same) == 1


def test_adjectives_are_those_of_radiologists(plans):
    wrong = re.compile(
        r"(mild|severe|marked|pronounced|minimal|slight) \w* ?(pericardial|pleural) effusion"
        r"|(severe|marked|pronounced|moderate|mild|slight|minimal) (sub)?segmental atelectasis"
        r"|(severe|marked|pronounced) linear|(mild|severe|marked) hiatal hernia",
        re.IGNORECASE,
    )
    for plan in plans:
        report = write_report(plan)
        assert not wrong.search(f"{report.findings} {report.impression}"), plan.patient


def test_a_large_effusion_is_not_told_beside_clear_lungs(plans):
    clear = re.compile(r"lungs are clear|no atelecta|no volume loss|aeration", re.IGNORECASE)
    for plan in plans:
        if any(f.name == "Pleural effusion" and f.size_mm >= 25 for f in plan.findings):
            assert not clear.search(write_report(plan).findings), plan.patient


def test_the_technique_says_whether_contrast_material_was_given(plans):
    with_it = re.compile(r"with intravenous contrast|after intravenous contrast")
    without = re.compile(r"without (contrast|intravenous)|unenhanced")
    said = set()
    for plan in plans:
        findings = write_report(plan).findings
        assert not (without if plan.contrast else with_it).search(findings)
        said.add((plan.contrast, bool(with_it.search(findings))))
    assert (True, True) in said


def test_incidental_things_are_told_only_of_those_who_have_them(plans):
    about = {
        "fatty liver": "fatty liver",
        "kidney cyst": "cortical cyst",
        "thyroid lesion": "thyroid lobe|thyroid gland is heterogeneous",
        "degenerative spine": "degenerative|osteophyte",
        "old granuloma": "calcified granuloma",
    }
    told = 0
    for plan in plans:
        findings = write_report(plan).findings
        for name, pattern in about.items():
            if re.search(pattern, findings, re.IGNORECASE):
                told += 1
                assert name in plan.incidental
    assert told > 50


# On voxels: a few patients, one finding at a time.

QUIET = Variation(noise=0)


def patient_with(finding: Finding, patient: int = 1) -> PatientPlan:
    return PatientPlan(seed=3, patient=patient, sex="M", age=60, findings=(finding,))


@cache
def fine(plan: PatientPlan) -> PhantomScan:
    return draw_scan(plan, (96, 80, 110), (3.0, 3.0, 3.0), variation=QUIET)


@pytest.mark.parametrize("size", [12.0, 30.0, 50.0])
def test_pleural_fluid_is_as_deep_on_the_slices_as_it_says(size):
    scan = fine(patient_with(Finding("Pleural effusion", "moderate", side="right", size_mm=size)))
    mask, lung = scan.mask("Pleural effusion"), scan.hu < -400
    domes = draw_thorax(patient_with(Finding("Pleural effusion", "moderate")), QUIET).domes
    mask = mask[round(48 + max(domes.values()) / 3) + 2 :]  # above the diaphragm, which is oblique
    lung = lung[-len(mask) :]
    depth = mask.sum(axis=1) * 3.0  # from back to front, where lung lies before it
    last = mask.shape[1] - 1 - mask[:, ::-1].argmax(axis=1)
    before = np.take_along_axis(lung, np.minimum(last + 2, lung.shape[1] - 1)[:, None], axis=1)
    measured = depth[before[:, 0] & mask.any(axis=1)]
    assert np.percentile(measured, 99) == pytest.approx(size, abs=6)


@pytest.mark.parametrize("size", [12.0, 24.0])
def test_pericardial_fluid_is_as_thick_on_the_slices_as_it_says(size):
    from scipy.ndimage import distance_transform_edt

    scan = fine(patient_with(Finding("Pericardial effusion", "moderate", size_mm=size)))
    mask = scan.mask("Pericardial effusion")
    # The largest ball in the fluid; it may be larger by a fifth in the grooves of the heart.
    ball = 2 * distance_transform_edt(mask, scan.spacing_mm).max()
    assert 0.85 * size < ball < 1.2 * size + 5


@pytest.mark.parametrize("size", [10.0, 40.0, 80.0])
def test_free_fluid_is_one_piece_and_lies_behind(size):
    from scipy.ndimage import label

    scan = fine(patient_with(Finding("Pleural effusion", "moderate", side="left", size_mm=size)))
    mask = scan.mask("Pleural effusion")
    pieces, count = label(mask)
    largest = max((pieces == k).sum() for k in range(1, count + 1))
    assert largest > 0.98 * mask.sum()
    assert np.argwhere(mask)[:, 1].mean() < 0.4 * mask.shape[1]


LOBAR = {
    "Lung nodule": {"kind": "solid", "size_mm": 14.0},
    "Lung opacity": {"kind": "ground-glass"},
    "Consolidation": {},
    "Atelectasis": {"kind": "subsegmental"},
    "Bronchiectasis": {},
    "Pulmonary fibrotic sequela": {},
}


@pytest.mark.parametrize("name", LOBAR)
@pytest.mark.parametrize(
    ("side", "lobe"),
    [("right", "middle lobe"), ("left", "lower lobe"), ("right", "upper lobe")],
)
def test_the_lobe_of_the_words_is_the_lobe_of_the_mask(name, side, lobe):
    finding = Finding(name, "moderate", side=side, lobe=lobe, **LOBAR[name])
    plan = patient_with(finding, patient=2)
    mask, build = fine(plan).mask(name), draw_thorax(plan, QUIET)
    axes = [np.arange(n) * 3.0 - 3.0 * (n - 1) / 2 for n in mask.shape]
    grids = axes[2][None, None, :], axes[1][None, :, None], axes[0][:, None, None]
    place, _ = build.pose.body(*(g.astype(np.float32) for g in grids))
    x, y, z = place[:, mask]
    assert (SIGN[side] * x > -3).mean() > 0.99
    assert (surfaces.lobe(build, side, lobe, x, y, z) > -3).mean() > 0.95


def test_a_collapsed_lobe_pulls_the_diaphragm_up():
    collapsed = Finding("Atelectasis", "severe", side="left", lobe="lower lobe", kind="volume loss")
    plan = patient_with(collapsed)
    healthy = replace(plan, findings=())
    domes = [draw_thorax(p, QUIET).domes for p in (plan, healthy)]
    assert domes[0]["left"] > domes[1]["left"] + 8
    assert domes[0]["right"] == domes[1]["right"]
