import math

import numpy as np
import pytest

from mg3d.evaluation.text_metrics.cider import cider


def reports(*texts):
    return [text.split() for text in texts]


def test_a_copy_scores_ten_and_a_stranger_nothing():
    references = reports("a b c d e", "f g h i j")
    assert cider(references, references) == pytest.approx([10, 10])
    assert cider(references[::-1], references) == pytest.approx([0, 0])


def test_what_every_reference_says_weighs_nothing():
    references = reports("a b c d x y z w", "a b c d p q r s")
    assert cider(reports("a b c d", "a b c d"), references)[0] < 1e-12


def test_one_word_by_hand():
    # Only "a" (in one of two references) and "b" exist: n = 1 only, weight log 2 each.
    scores = cider(reports("a", "b b"), reports("a", "b"))
    assert scores[0] == pytest.approx(10 / 4)
    # "b b": weight 2 log 2, clipped to log 2; cosine 1/2; one bigram too long.
    assert scores[1] == pytest.approx(10 / 4 * 1 / 2 * math.exp(-1 / 72))


def test_a_difference_in_length_costs_by_a_gaussian_of_six_bigrams():
    # The own vector is 7 times the reference's, clipped to it: cosine 1/7.
    scores = cider(reports("a " * 7, "c"), reports("a", "b"))
    assert scores[0] == pytest.approx(10 / 4 / 7 * math.exp(-36 / 72))


def test_of_a_single_report_nothing_is_rare():
    assert cider(reports("a b c d e"), reports("a b c d e")) == pytest.approx([0])


def test_cider_equals_pycocoevalcap():
    judge = pytest.importorskip("pycocoevalcap.cider.cider", reason="extra [metrics]").Cider()
    numbers = np.random.default_rng(0)
    generated, references = (
        [[f"w{w}" for w in numbers.zipf(1.5, numbers.integers(1, 40)) % 30] for _ in range(25)]
        for _ in range(2)
    )
    own, theirs = (
        {i: [" ".join(tokens)] for i, tokens in enumerate(side)} for side in (generated, references)
    )
    mean, expected = judge.compute_score(theirs, own)
    assert mean > 0.1
    np.testing.assert_allclose(cider(generated, references), expected, atol=1e-9)


def test_cider_equals_numbers_that_pycocoevalcap_gave():
    generated = reports(
        "a small nodule in the left lung", "heart size is normal", "no effusion seen"
    )
    references = reports(
        "a small nodule in the right lung", "the heart size is normal", "no pleural effusion"
    )
    assert cider(generated, references) == pytest.approx([6.509249, 8.316253, 1.666667], abs=1e-6)
