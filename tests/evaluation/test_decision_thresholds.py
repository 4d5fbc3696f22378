import numpy as np
import pytest
from sklearn.metrics import f1_score, roc_curve

from mg3d.evaluation.decision_thresholds import choose_thresholds, decide


def column(*values):
    return np.array(values, dtype=float)[:, None]


@pytest.mark.parametrize(
    ("labels", "scores", "threshold"),
    [
        ((0, 0, 1, 1), (0.1, 0.2, 0.6, 0.8), 0.4),
        ((1, 0, 1, 0), (0.1, 0.2, 0.6, 0.8), -0.9),  # claiming all has the largest F1, 2/3
        ((0, 1, np.nan), (0.2, 0.4, 9.0), 0.3),
    ],
)
def test_thresholds_by_hand(labels, scores, threshold):
    assert choose_thresholds(column(*labels), column(*scores))[0] == pytest.approx(threshold)


def test_no_other_threshold_has_a_larger_f1():
    numbers = np.random.default_rng(0)
    labels = (numbers.random(80) < 0.3).astype(float)
    scores = numbers.integers(0, 10, 80) / 10 + 0.2 * labels
    (best,) = choose_thresholds(labels[:, None], scores[:, None])
    reached = f1_score(labels, scores > best)
    assert reached == pytest.approx(max(f1_score(labels, scores > t) for t in scores - 1e-6))


def test_the_roc_corner_is_that_of_scikit_learn():
    numbers = np.random.default_rng(1)
    labels = (numbers.random(80) < 0.3).astype(float)
    scores = numbers.normal(size=80) + labels
    (best,) = choose_thresholds(labels[:, None], scores[:, None], "roc_corner")
    claimed = scores > best
    reached = np.hypot(claimed[labels == 0].mean(), 1 - claimed[labels == 1].mean())
    false_alarm, hit, _ = roc_curve(labels, scores)
    assert reached == pytest.approx(np.hypot(false_alarm, 1 - hit).min())


def test_a_finding_that_all_or_none_have_gets_no_threshold_and_no_decision():
    labels = np.array([[0.0, 1.0, 1.0], [0.0, 1.0, 0.0]])
    scores = np.array([[0.1, 0.2, 0.9], [0.3, 0.4, 0.1]])
    thresholds = choose_thresholds(labels, scores)
    assert np.isnan(thresholds).tolist() == [True, True, False]
    assert np.isnan(decide(scores, thresholds)[:, :2]).all()
    assert decide(scores, thresholds)[:, 2].tolist() == [1, 0]


def test_an_unknown_rule_is_refused_with_what_there_is():
    with pytest.raises(ValueError, match="one of f1, roc_corner; got 'youden'"):
        choose_thresholds(np.eye(2), np.eye(2), "youden")
