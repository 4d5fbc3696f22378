import numpy as np
import pytest

from mg3d.evaluation.metrics import auroc, aurocs, bootstrap, macro, recall_at, retrieval_pools


@pytest.mark.parametrize(
    ("labels", "scores", "area"),
    [
        ([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8], 0.75),  # three of four pairs in order
        ([0, 1], [0.5, 0.5], 0.5),  # a tie is half a win
        ([0, 1], [0.9, 0.1], 0.0),
        ([0, 1, np.nan], [0.1, 0.9, 0.0], 1.0),  # the unknown is left out
    ],
)
def test_auroc_by_hand(labels, scores, area):
    assert auroc(np.array(labels, float), np.array(scores)) == pytest.approx(area)


def test_auroc_equals_the_count_of_pairs():
    numbers = np.random.default_rng(0)
    labels = (numbers.random(60) < 0.3).astype(float)
    scores = numbers.integers(0, 10, 60) + labels
    pairs = [(p > n) + 0.5 * (p == n) for p in scores[labels == 1] for n in scores[labels == 0]]
    assert auroc(labels, scores) == pytest.approx(np.mean(pairs))


def test_findings_together_have_the_areas_of_findings_alone():
    numbers = np.random.default_rng(0)
    labels = (numbers.random((60, 5)) < 0.3).astype(float)
    scores = numbers.integers(0, 10, (60, 5)) + labels
    labels[:20, 1] = np.nan  # some unknown
    labels[:, 2], labels[:, 3], labels[:, 4] = np.nan, 0, 1  # all unknown, or of one class
    scores[:20, 1] = np.inf  # that of an unknown one counts for nothing
    areas = aurocs(labels, scores)
    assert np.isnan(areas).tolist() == [False, False, True, True, True]
    assert len(set(areas[:2])) == 2
    alone = [auroc(y, s) for y, s in zip(labels.T, scores.T, strict=True)]
    np.testing.assert_array_equal(areas, alone)


def test_a_finding_nobody_has_is_undefined_and_left_out_of_the_mean():
    assert np.isnan(auroc(np.zeros(5), np.arange(5.0)))
    assert macro(np.array([0.8, np.nan, 0.6])) == pytest.approx(0.7)
    assert np.isnan(macro(np.array([np.nan])))


def test_recall_by_hand():
    similarity = np.array([[0.9, 0.1, 0.0], [0.8, 0.5, 0.0], [0.9, 0.8, 0.1]])
    assert recall_at(1, similarity).tolist() == [1, 0, 0]
    assert recall_at(2, similarity).tolist() == [1, 1, 0]


def test_a_constant_similarity_gives_chance_not_a_perfect_score():
    assert recall_at(5, np.ones((64, 64))).mean() == pytest.approx(5 / 64)


def test_pools_are_disjoint_and_full():
    pools = retrieval_pools(200, 64, seed=0)
    assert [len(pool) for pool in pools] == [64, 64, 64]
    assert len(set(np.concatenate(pools))) == 192
    assert len(retrieval_pools(3, 64, seed=0)[0]) == 3


def test_the_interval_of_a_mean_is_about_two_standard_errors():
    values = np.random.default_rng(0).normal(size=400)
    score = bootstrap(lambda p: values[p].mean(), 400)
    error = values.std() / 20
    assert score.value == pytest.approx(values.mean())
    assert score.high - score.low == pytest.approx(3.92 * error, rel=0.15)
