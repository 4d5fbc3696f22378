import numpy as np
import pytest
from sklearn import metrics as sklearn

from mg3d.evaluation.classification_metrics import (
    Decisions,
    average_precision,
    average_precisions,
    balanced_accuracy,
)

NAN = np.nan


def random_cases(seed=0, cases=80, findings=5):
    numbers = np.random.default_rng(seed)
    labels = (numbers.random((cases, findings)) < 0.3).astype(float)
    return labels, (numbers.random((cases, findings)) < 0.2 + 0.5 * labels).astype(float)


@pytest.mark.parametrize(
    ("labels", "scores", "value"),
    [
        ([1, 1, 0, 0], [0.9, 0.8, 0.3, 0.1], 1.0),
        ([0, 1, 0, 1], [0.9, 0.8, 0.3, 0.1], (1 / 2 + 2 / 4) / 2),
        ([1, 0, 0, 0], [0.5, 0.5, 0.5, 0.5], 1 / 4),  # all tied: the prevalence
        ([1, NAN, 0], [0.2, 0.9, 0.1], 1.0),  # the unknown is left out
    ],
)
def test_average_precision_by_hand(labels, scores, value):
    assert average_precision(np.array(labels, float), np.array(scores)) == pytest.approx(value)


@pytest.mark.parametrize("seed", range(5))
def test_average_precision_equals_scikit_learn_with_ties(seed):
    numbers = np.random.default_rng(seed)
    labels = (numbers.random((90, 3)) < 0.3).astype(float)
    scores = numbers.integers(0, 12, (90, 3)) + labels
    expected = sklearn.average_precision_score(labels, scores, average=None)
    np.testing.assert_allclose(average_precisions(labels, scores), expected)


def test_without_a_positive_average_precision_is_undefined():
    assert np.isnan(average_precision(np.zeros(4), np.arange(4.0)))


def test_decisions_by_hand():
    #                   there, claimed   missed    invented   unknown
    agreed = Decisions(
        np.array([[1.0, 1.0], [0.0, 1.0], [0.0, 0.0], [NAN, 0.0]]),
        np.array([[1.0, 0.0], [1.0, 1.0], [0.0, 0.0], [1.0, NAN]]),
    )
    assert [cell.tolist() for cell in agreed.counts(0)] == [[1, 1], [1, 0], [0, 1], [1, 1]]
    assert agreed.f1().tolist() == pytest.approx([2 / 3, 2 / 3])
    found = agreed.summary()
    assert found["f1_sample"] == pytest.approx((2 / 3 + 2 / 3 + 1) / 3)  # the last case has none
    assert found["accuracy_macro"] == pytest.approx(2 / 3)
    assert found["accuracy_all"] == pytest.approx(1 / 3)
    assert found["precision_macro"] == pytest.approx((1 / 2 + 1) / 2)
    assert found["recall_macro"] == pytest.approx((1 + 1 / 2) / 2)


@pytest.mark.parametrize("average", ["macro", "micro", "weighted"])
def test_f1_equals_scikit_learn(average):
    labels, decided = random_cases()
    expected = sklearn.f1_score(labels, decided, average=average)
    assert Decisions(labels, decided).summary()[f"f1_{average}"] == pytest.approx(expected)


def test_the_other_scores_equal_scikit_learn():
    labels, decided = random_cases()
    found = Decisions(labels, decided).summary()
    for average in ("macro", "micro"):
        for name in ("precision", "recall"):
            expected = getattr(sklearn, f"{name}_score")(labels, decided, average=average)
            assert found[f"{name}_{average}"] == pytest.approx(expected)
    expected = sklearn.f1_score(labels, decided, average="samples", zero_division=1)
    assert found["f1_sample"] == pytest.approx(expected)
    both = [
        sklearn.f1_score(y, d, average="weighted") for y, d in zip(labels.T, decided.T, strict=True)
    ]
    assert found["f1_both_classes"] == pytest.approx(np.mean(both))
    assert found["accuracy_all"] == pytest.approx(sklearn.accuracy_score(labels, decided))


def test_always_negative_looks_good_only_where_negatives_count():
    labels, _ = random_cases()
    found = Decisions(labels, np.zeros_like(labels)).summary()
    assert found["f1_macro"] == found["f1_micro"] == 0
    assert found["f1_both_classes"] > 0.5
    assert np.isnan(found["precision_macro"])


def test_a_finding_neither_there_nor_claimed_is_left_out_of_the_mean():
    found = Decisions(np.array([[1.0, 0.0]]), np.array([[1.0, 0.0]]))
    assert np.isnan(found.f1()[1])
    assert found.summary()["f1_macro"] == 1.0


def test_balanced_accuracy_equals_scikit_learn():
    numbers = np.random.default_rng(0)
    labels, decided = numbers.integers(0, 3, 60), numbers.integers(0, 3, 60)
    expected = sklearn.balanced_accuracy_score(labels, decided)
    assert balanced_accuracy(labels, decided) == pytest.approx(expected)
