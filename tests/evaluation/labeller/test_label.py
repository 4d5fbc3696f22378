import csv
import hashlib

import numpy as np
import pytest

from mg3d.data.labels import CT_RATE_FINDINGS
from mg3d.evaluation.classification_metrics import Decisions
from mg3d.evaluation.labeller.label import Label, Verdict, label_matrix, label_report
from mg3d.evaluation.labeller.phrases import NORMAL, PHRASES
from mg3d.phantom.patient import draw_patient
from mg3d.phantom.report import write_report


def labels_of(report, label=Label.PRESENT):
    return {name for name, verdict in label_report(report).items() if verdict.label == label}


@pytest.mark.parametrize(
    ("report", "present"),
    [
        ("A stent lies in the left coronary artery.", {"Medical material"}),
        ("Calcified plaques in the aortic arch.", {"Arterial wall calcification"}),
        ("Calcific plaque in the LAD.", {"Coronary artery wall calcification"}),
        ("Calcification of the aorta and the coronary arteries.",
         {"Arterial wall calcification", "Coronary artery wall calcification"}),
        ("Calcified pleural plaques.", set()),
        ("The aortic valve is calcified.", set()),
        ("The cardiothoracic ratio has increased.", {"Cardiomegaly"}),
        ("Fluid of 6 mm in the pericardial space.", {"Pericardial effusion"}),
        ("Pleural and pericardial effusion.", {"Pleural effusion", "Pericardial effusion"}),
        ("Free fluid around the liver in the abdomen.", set()),
        ("Part of the stomach herniates through the esophageal hiatus.", {"Hiatal hernia"}),
        ("Umbilical hernia.", set()),
        ("Small lymph nodes at the hilum.", {"Lymphadenopathy"}),
        ("Paraseptal emphysema.", {"Emphysema"}),
        ("Subcutaneous emphysema.", set()),
        ("Band-like atelectasis.", {"Atelectasis"}),
        ("Fibroatelectatic changes.", {"Pulmonary fibrotic sequela"}),
        ("Sequela of a rib fracture.", set()),
        ("A 4 mm nodule in the right lung.", {"Lung nodule"}),
        ("A nodule in the thyroid gland.", set()),
        ("Ground-glass densities.", {"Lung opacity"}),
        ("Mosaic attenuation, small airway disease?", {"Mosaic attenuation pattern"}),
        ("Thickened bronchial walls. The bronchial walls are thickened.",
         {"Peribronchial thickening"}),
        ("Bronchial wall thickness is normal.", set()),
        ("Consolidation, pneumonia?", {"Consolidation"}),
        ("Bronchiectatic changes.", {"Bronchiectasis"}),
        ("Thickening of the interlobular septa.", {"Interlobular septal thickening"}),
        ("", set()),
    ],
)  # fmt: skip
def test_findings_by_hand(report, present):
    assert labels_of(report) == present


def test_assertion_outweighs_doubt_and_doubt_outweighs_denial():
    denied, doubted = "No consolidation is seen.", "Suspicious for consolidation."
    told = "Consolidation in the left lung."
    name = "Consolidation"
    for report, label in [
        ("Bones are normal.", Label.NOT_MENTIONED),
        (denied, Label.ABSENT),
        (f"{denied} {doubted}", Label.UNCERTAIN),
        (f"{told} {doubted} {denied}", Label.PRESENT),
    ]:
        assert label_report(report)[name].label == label


def test_the_sentence_that_decided_is_told():
    verdict = label_report("Heart normal. No nodule. A Nodule is seen in the lung.")["Lung nodule"]
    assert verdict == Verdict(Label.PRESENT, "A Nodule is seen in the lung.", "nodule")


def test_a_normal_statement_denies_without_naming():
    assert label_report("Heart size is normal.")["Cardiomegaly"].label == Label.ABSENT


@pytest.mark.parametrize(
    ("uncertain_as", "number"), [("positive", 1.0), ("negative", 0.0), ("left out", np.nan)]
)
def test_the_caller_says_how_uncertain_counts(uncertain_as, number):
    row = label_matrix(["Suspicious for consolidation. No effusion."], uncertain_as)[0]
    expected = np.zeros(18)
    expected[CT_RATE_FINDINGS.index("Consolidation")] = number
    np.testing.assert_array_equal(row, expected)
    with pytest.raises(ValueError, match="one of positive, negative, left out; got 'one'"):
        label_matrix([""], "one")


def test_there_are_phrases_for_every_finding_and_no_other():
    assert tuple(PHRASES) == CT_RATE_FINDINGS
    assert NORMAL.keys() <= PHRASES.keys()


@pytest.mark.thorough
def test_on_phantom_reports_nothing_is_invented_and_what_is_told_is_found():
    plans = [draw_patient(11, patient) for patient in range(1_000)]
    reports = [write_report(plan) for plan in plans]
    truth = np.array([plan.labels() for plan in plans], dtype=float)
    agreed = Decisions(truth, label_matrix([f"{r.findings} {r.impression}" for r in reports]))
    assert agreed.precision().min() == 1.0
    assert agreed.recall().min() > 0.9  # one finding in twenty is left untold


@pytest.fixture(scope="module")
def held_out(shared_data):
    """Reports and manual labels that took no part in writing the rules."""
    folder = shared_data / "reports" / "ctrate_text_classifier"
    rows, named = [], {}
    for name in ("train", "val"):
        with (folder / f"{name}.csv").open(newline="", encoding="utf-8-sig") as table:
            rows += list(csv.DictReader(table))
        with (folder / f"map_{name}_classifier.csv").open(newline="") as table:
            named |= {row["AccessionNo"]: row["NameinCTRATE"] for row in csv.DictReader(table)}

    def patient(row):
        name = named.get(row["AccessionNo"], "")
        known = name.count("_") == 2
        return name.rpartition("_")[0] if known else row["AccessionNo"]

    def used(row):
        return int(hashlib.sha256(row["report_text"].encode()).hexdigest(), 16) % 2 == 0

    texts = {row["report_text"] for row in rows if used(row)}
    patients = {patient(row) for row in rows if used(row)}
    return [r for r in rows if r["report_text"] not in texts and patient(r) not in patients]


@pytest.mark.slow
def test_on_held_out_real_reports_the_labels_agree_with_the_manual_ones(held_out):
    truth = np.array([[float(row[name]) for name in CT_RATE_FINDINGS] for row in held_out])
    agreed = Decisions(truth, label_matrix([row["report_text"] for row in held_out]))
    found = agreed.summary()
    assert len(held_out) == 435
    assert found["f1_macro"] > 0.92
    assert found["f1_micro"] > 0.92
    assert agreed.f1().min() > 0.7  # peribronchial thickening, 36 positives
