import numpy as np
import pytest

from mg3d.evaluation.text_metrics import meteor as module
from mg3d.evaluation.text_metrics.meteor import meteor, missing

PAIR = ["the", "heart", "is", "enlarged"]


@pytest.mark.thorough  # Java reads a 62 MB table first
def test_meteor_is_the_java_programs_number():
    if missing():
        pytest.skip(missing())
    found = meteor([PAIR, ["no", "effusion"], []], [PAIR, ["the", "lungs", "are", "clear"], ["a"]])
    assert not found.not_computed
    assert found.per_report[0] == pytest.approx(1.0)
    assert found.per_report[1:].tolist() == [0, 0]
    assert 0 < found.corpus < 1


def test_without_java_meteor_is_not_computed_and_says_why(monkeypatch):
    monkeypatch.setattr(module, "find_spec", lambda _: object())
    monkeypatch.setattr(module.shutil, "which", lambda _: None)
    found = meteor([PAIR], [PAIR])
    assert "no `java` on the path" in found.not_computed
    assert np.isnan(found.corpus) and np.isnan(found.per_report).all()


def test_without_pycocoevalcap_meteor_says_what_to_install(monkeypatch):
    monkeypatch.setattr(module, "find_spec", lambda _: None)
    assert 'pip install "mg3d[metrics]"' in meteor([PAIR], [PAIR]).not_computed
