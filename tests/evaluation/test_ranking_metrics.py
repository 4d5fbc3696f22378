import itertools

import numpy as np
import pytest
from sklearn.metrics import label_ranking_average_precision_score

from mg3d.evaluation.metrics import recall_at
from mg3d.evaluation.ranking_metrics import rank_items, same_key


def one_query(similarity, right, left_out=None):
    hidden = None if left_out is None else np.array([left_out], dtype=bool)
    return rank_items(np.array([similarity], float), np.array([right], dtype=bool), hidden)


def test_ranks_by_hand():
    found = one_query([0.9, 0.5, 0.7, 0.1], [0, 1, 0, 0])
    assert found.rank().tolist() == [3]
    assert found.reciprocal_rank().tolist() == [1 / 3]
    assert [found.recall_at(k)[0] for k in (1, 2, 3, 4)] == [0, 0, 1, 1]


def test_the_best_of_several_right_answers_counts():
    found = one_query([0.9, 0.5, 0.7, 0.1], [0, 1, 1, 0])
    assert found.rank().tolist() == [2]


def test_a_sibling_is_a_miss_a_hit_or_no_item_as_the_caller_says():
    own, sibling, similarity = [0, 1, 0], [1, 1, 0], [0.9, 0.5, 0.1]
    assert one_query(similarity, own).rank().tolist() == [2]
    assert one_query(similarity, sibling).rank().tolist() == [1]
    assert one_query(similarity, own, left_out=[1, 0, 0]).rank().tolist() == [1]


@pytest.mark.parametrize("right", [[1, 0, 0, 0, 0], [0, 1, 0, 1, 0], [1, 1, 0, 0, 1]])
def test_ties_give_the_mean_over_all_orders(right):
    similarity = np.array([0.5, 0.5, 0.9, 0.5, 0.5])
    ranks = []
    for order in itertools.permutations(range(5)):
        ranking = sorted(order, key=lambda item: -similarity[item])
        ranks.append(1 + min(ranking.index(item) for item in np.flatnonzero(right)))
    found = one_query(similarity, right)
    assert found.rank()[0] == pytest.approx(np.mean(ranks))
    assert found.reciprocal_rank()[0] == pytest.approx(np.mean(1 / np.array(ranks)))
    for k in range(7):
        assert found.recall_at(k)[0] == pytest.approx(np.mean(np.array(ranks) <= k))


def test_a_constant_similarity_gives_chance():
    found = rank_items(np.zeros((64, 64)), np.eye(64, dtype=bool))
    assert found.recall_at(5).mean() == pytest.approx(5 / 64)
    assert found.reciprocal_rank().mean() == pytest.approx((1 / np.arange(1, 65)).mean())
    assert np.median(found.rank()) == pytest.approx(32.5)


def test_with_one_right_answer_recall_equals_that_of_metrics():
    similarity = np.random.default_rng(0).integers(0, 6, (30, 30)).astype(float)
    found = rank_items(similarity, np.eye(30, dtype=bool))
    for k in (1, 3, 10):
        np.testing.assert_allclose(found.recall_at(k), recall_at(k, similarity), atol=1e-12)


def test_mrr_of_one_right_answer_equals_scikit_learn():
    similarity = np.random.default_rng(0).normal(size=(40, 40))
    own = np.eye(40, dtype=bool)
    expected = label_ranking_average_precision_score(own, similarity)
    assert rank_items(similarity, own).reciprocal_rank().mean() == pytest.approx(expected)


def test_items_share_a_key():
    assert same_key(["s1", "s2"], ["s1", "s1", "s2"]).tolist() == [
        [True, True, False],
        [False, False, True],
    ]


def test_the_summary_has_intervals_over_patients():
    similarity = np.random.default_rng(0).normal(size=(40, 40)) + 2 * np.eye(40)
    ranking = rank_items(similarity, np.eye(40, dtype=bool))
    found = ranking.summary([f"p{i // 2}" for i in range(40)], ks=(1, 5))
    assert list(found) == ["recall_at_1", "recall_at_5", "mrr", "median_rank"]
    assert found["recall_at_5"].value == pytest.approx(ranking.recall_at(5).mean())
    assert found["median_rank"].value == np.median(ranking.rank())
    assert all(score.n == 20 and score.low < score.high for score in found.values())


def test_a_query_without_a_right_answer_is_refused():
    with pytest.raises(ValueError, match=r"1 of 2 queries have no right answer.*first query 1"):
        rank_items(np.zeros((2, 2)), np.array([[True, True], [False, False]]))
    with pytest.raises(ValueError, match="no right answer"):
        one_query([0.1, 0.2], [1, 0], left_out=[1, 0])


def test_a_similarity_that_is_no_number_is_refused():
    with pytest.raises(ValueError, match="query 0 and item 1 is not a finite"):
        one_query([0.1, np.nan], [1, 0])
