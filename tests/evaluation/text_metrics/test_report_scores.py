import numpy as np
import pytest

from mg3d.evaluation.text_metrics import meteor
from mg3d.evaluation.text_metrics.report_scores import score_reports

REFERENCES = ["The heart is enlarged.", "Both lungs are clear.", "No effusion is seen."] * 4
PATIENTS = [f"p{i // 2}" for i in range(12)]


@pytest.fixture(autouse=True)
def no_java(monkeypatch):
    monkeypatch.setattr(meteor, "missing", lambda: "METEOR needs Java")


def test_every_score_has_its_protocol_and_patients():
    scores = score_reports(REFERENCES, REFERENCES, PATIENTS, draws=20)
    assert list(scores) == [
        *("BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4", "ROUGE-L", "ROUGE-L F1", "CIDEr", "METEOR")
    ]
    for name, scored in scores.items():
        assert scored.score.n == 6
        assert "not computed" in str(scored) if name == "METEOR" else "words" in str(scored)
    assert scores["BLEU-4"].score.value == scores["ROUGE-L"].score.value == 1.0
    assert np.isnan(scores["METEOR"].score.value)


def test_the_mean_of_the_reports_is_the_score():
    generated = ["The heart.", "Clear lungs.", "Effusion is seen."] * 4
    scores = score_reports(generated, REFERENCES, PATIENTS, draws=50)
    for name in ("ROUGE-L", "ROUGE-L F1", "CIDEr"):
        assert scores[name].score.value == pytest.approx(scores[name].per_report.mean())
        assert scores[name].score.low < scores[name].score.value < scores[name].score.high


def test_a_patient_is_needed_for_every_report():
    with pytest.raises(ValueError, match="each of 12 reports, got 1"):
        score_reports(REFERENCES, REFERENCES, ["p0"])
