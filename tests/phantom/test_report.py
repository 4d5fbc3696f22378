import re
from collections import Counter

import numpy as np
import pytest

from mg3d.data.labels import CT_RATE_FINDINGS
from mg3d.phantom.patient import Finding, PatientPlan, draw_patient
from mg3d.phantom.report import MAX_IMPRESSION_ITEMS, write_report
from mg3d.phantom.wordings import IMPRESSION, NEGATIVE, POSITIVE, SYSTEMS
from mg3d.text.report import split_sentences

ABOUT = {
    "Medical material": r"pacemaker|\bport\b|stern(al|otomy|um)",
    "Arterial wall calcification": r"aort.*(calcif|plaque|athero)|(calcif|plaque|athero).*aort",
    "Cardiomegaly": r"cardiomegaly|enlarged heart|heart (is|size|dimensions)|cardiothoracic",
    "Pericardial effusion": r"pericardial",
    "Coronary artery wall calcification": r"coronar",
    "Hiatal hernia": r"hiatal|hiatus|hernia",
    "Lymphadenopathy": r"lymph",
    "Emphysema": r"emphysem",
    "Atelectasis": r"atelecta",
    "Lung nodule": r"nodule",
    "Lung opacity": r"ground-glass(?! nodule)",
    "Pulmonary fibrotic sequela": r"sequela|fibrotic",
    "Pleural effusion": r"\bpleural (or|effusion|space|fluid|and)",
    "Mosaic attenuation pattern": r"mosaic",
    "Peribronchial thickening": r"peribronchial|bronchial wall",
    "Consolidation": r"consolidat",
    "Bronchiectasis": r"bronchiect|ectatic bronchi",
    "Interlobular septal thickening": r"\bsepta",
}
DENIAL = re.compile(
    r"\b(no|not|neither|absent|are free|(?<!than )normal|clear|homogeneous|smooth|natural)\b",
    re.IGNORECASE,
)


def statements(text):
    """(sentence, finding, asserted) for every finding a sentence is about."""
    return [
        (sentence, name, DENIAL.search(sentence) is None)
        for sentence in split_sentences(text)
        for name, pattern in ABOUT.items()
        if re.search(pattern, sentence, re.IGNORECASE)
    ]


@pytest.fixture(scope="module")
def patients():
    plans = [draw_patient(0, patient) for patient in range(400)]
    return [(plan, write_report(plan)) for plan in plans]


def plan_of(*findings: Finding, patient: int = 0) -> PatientPlan:
    return PatientPlan(seed=0, patient=patient, sex="F", age=60, findings=findings)


def test_what_is_asserted_is_there_and_what_is_denied_is_not(patients):
    for plan, report in patients:
        present = {finding.name for finding in plan.findings}
        for sentence, name, asserted in statements(report.findings + "\n" + report.impression):
            assert (name in present) == asserted, sentence


def test_nearly_all_that_is_there_is_told(patients):
    told = present = 0
    for plan, report in patients:
        asserted = {name for _, name, asserted in statements(report.findings) if asserted}
        told += len(asserted)
        present += len(plan.findings)
    assert 0.92 < told / present < 0.98


def test_what_matters_is_repeated_in_the_impression(patients):
    for _, report in patients:
        in_findings = {name for _, name, asserted in statements(report.findings) if asserted}
        repeated = {name for _, name, asserted in statements(report.impression) if asserted}
        assert repeated <= in_findings
        if "Consolidation" in in_findings and len(in_findings) <= MAX_IMPRESSION_ITEMS:
            assert "Consolidation" in repeated
        assert report.impression


def test_sides_and_sizes_are_the_finding_s_own(patients):
    for plan, report in patients:
        by_name = {finding.name: finding for finding in plan.findings}
        for sentence, name, asserted in statements(report.findings):
            if not asserted:
                continue
            finding = by_name[name]
            for side, other in (("left", "right"), ("right", "left")):
                if finding.side == side and "right heart" not in sentence:
                    assert not re.search(rf"\b{other}\b", sentence, re.IGNORECASE), sentence
            for number, unit in re.findall(r"([\d.]+) (mm|cm)\b", sentence):
                millimetres = float(number) * (10 if unit == "cm" else 1)
                assert millimetres == pytest.approx(finding.size_mm, abs=0.51), sentence


def test_a_report_has_the_length_of_a_report(patients):
    texts = [f"{report.findings}\n{report.impression}" for _, report in patients]
    words = [len(text.split()) for text in texts]
    sentences = [len(split_sentences(text)) for text in texts]
    assert 80 < np.mean(words) < 140
    assert min(sentences) >= 8
    assert np.percentile(sentences, 95) <= 16


def test_equal_plans_give_equal_reports_in_any_order(patients):
    for patient in (7, 3, 399):
        assert write_report(draw_patient(0, patient)) == patients[patient][1]
    assert write_report(draw_patient(1, 7)) != patients[7][1]


def test_the_same_findings_are_told_in_different_words_and_order():
    finding = Finding("Consolidation", "moderate", side="left", lobe="lower lobe")
    reports = [write_report(plan_of(finding, patient=patient)) for patient in range(100)]
    told = {
        sentence
        for report in reports
        for sentence, name, _ in statements(report.findings)
        if name == "Consolidation"
    }
    assert len(told) >= 8
    places = {
        place
        for report in reports
        for place, sentence in enumerate(split_sentences(report.findings))
        if "consolidation" in sentence.lower()
    }
    assert len(places) >= 4


def test_every_finding_has_several_wordings_and_can_be_denied():
    for name in CT_RATE_FINDINGS:
        tables = [table for key, table in POSITIVE.items() if key.split(":")[0] == name]
        assert tables
        assert all(len(set(table)) >= 4 for table in tables), name
        assert any(key.split(":")[0] == name for key in IMPRESSION), name
        assert any(absent == (name,) and len(wordings) >= 3 for _, absent, wordings in NEGATIVE)
        assert sum(name in names for names in SYSTEMS.values()) == 1


def test_reports_are_written_cleanly(patients):
    for _, report in patients:
        text = f"{report.findings} {report.impression}"
        assert not re.search(r"[{}]|None|  | [.,?]|\ba (enlarged|[aeiou])", text), text
        assert all(s[0].isupper() for s in split_sentences(report.findings))


def test_a_patient_without_findings_gets_a_normal_impression():
    impressions = {write_report(plan_of(patient=patient)).impression for patient in range(50)}
    assert len(impressions) >= 4
    assert all(re.search(r"no |normal", text, re.IGNORECASE) for text in impressions)


def test_what_is_absent_is_denied_only_once():
    for patient in range(50):
        said = Counter(
            name for _, name, _ in statements(write_report(plan_of(patient=patient)).findings)
        )
        assert max(said.values()) == 1
