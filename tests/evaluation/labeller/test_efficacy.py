import numpy as np
import pytest

from mg3d.data.labels import CT_RATE_FINDINGS
from mg3d.evaluation.labeller.efficacy import clinical_efficacy

REFERENCES = [
    "Consolidation in the left lung. No pleural effusion.",
    "Pleural effusion on the right.",
    "Both lungs are clear.",
]
PATIENTS = ["a", "b", "c"]


def test_a_report_in_other_words_states_the_same():
    own = ["A consolidated area, left.", "Fluid in the right pleural space.", ""]
    found = clinical_efficacy(own, REFERENCES, PATIENTS, draws=20)
    assert found.scores["f1_macro"].value == found.scores["f1_micro"].value == 1.0
    assert found.scores["f1_sample"].value == 1.0
    assert found.scores["f1_micro"].n == 3


def test_efficacy_by_hand():
    own = ["Consolidation. Pleural effusion.", "Normal.", "Normal."]
    found = clinical_efficacy(own, REFERENCES, PATIENTS, draws=20)
    assert found.scores["precision_micro"].value == pytest.approx(1 / 2)
    assert found.scores["recall_micro"].value == pytest.approx(1 / 2)
    assert found.scores["f1_macro"].value == pytest.approx((1 + 0) / 2)
    assert found.per_finding["Consolidation"] == {"n": 1, "precision": 1, "recall": 1, "f1": 1}
    assert found.per_finding["Pleural effusion"]["f1"] == 0
    assert np.isnan(found.per_finding["Cardiomegaly"]["f1"])


def test_uncertain_counts_as_the_caller_says():
    own, references = ["Suspicious for consolidation."], ["Consolidation."]
    recalls = {
        how: clinical_efficacy(own, references, ["a"], uncertain_as=how, draws=5)
        for how in ("positive", "negative", "left out")
    }
    values = {how: found.scores["recall_micro"].value for how, found in recalls.items()}
    assert values["positive"] == 1 and values["negative"] == 0 and np.isnan(values["left out"])
    assert recalls["negative"].uncertain_as == "negative"


def test_the_truth_can_be_given_as_labels():
    labels = np.zeros((1, 18))
    labels[0, CT_RATE_FINDINGS.index("Emphysema")] = 1
    found = clinical_efficacy(["Emphysema."], ["Normal."], ["a"], labels=labels, draws=5)
    assert found.scores["f1_micro"].value == 1.0


def test_numbers_that_do_not_match_are_refused():
    with pytest.raises(ValueError, match="got 3, 1 and 3 for 3"):
        clinical_efficacy(REFERENCES, REFERENCES, ["a"])
