import math

import numpy as np
import pytest
from sacrebleu.metrics import BLEU

from mg3d.evaluation.text_metrics.bleu import bleu_counts


def made_up_reports(seed, number=30):
    numbers = np.random.default_rng(seed)
    return [
        [f"w{w}" for w in numbers.zipf(1.5, numbers.integers(4, 40)) % 30] for _ in range(number)
    ]


@pytest.mark.parametrize(
    ("generated", "reference", "bleu_1", "bleu_2"),
    [
        ("a b c d", "a b c d", 1.0, 1.0),
        ("a b", "c d", 0.0, 0.0),
        ("a a a a", "a b c d", 1 / 4, 0.0),  # "a" counts once, as in the reference
        ("a b x d", "a b c d", 3 / 4, math.sqrt(3 / 4 * 1 / 3)),
        ("a b", "a b c d", math.exp(1 - 4 / 2), math.exp(1 - 4 / 2)),  # too short
        ("a b c d e f", "a b c", 1 / 2, math.sqrt(1 / 2 * 2 / 5)),  # too long: precision pays
        ("", "a b", 0.0, 0.0),
    ],
)
def test_bleu_by_hand(generated, reference, bleu_1, bleu_2):
    counts = bleu_counts([generated.split()], [reference.split()])
    assert counts.bleu(1) == pytest.approx(bleu_1)
    assert counts.bleu(2) == pytest.approx(bleu_2)


def test_counts_are_summed_over_the_corpus_before_dividing():
    counts = bleu_counts([["a"], ["b", "x", "x"]], [["a"], ["b", "c", "d"]])
    assert counts.bleu(1) == pytest.approx(2 / 4)  # not the mean of 1 and 1/3


@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_bleu_equals_sacrebleu(n):
    generated, references = made_up_reports(0), made_up_reports(1)
    judge = BLEU(tokenize="none", smooth_method="none", max_ngram_order=n, force=True)
    theirs = judge.corpus_score(
        [" ".join(tokens) for tokens in generated], [[" ".join(tokens) for tokens in references]]
    )
    assert theirs.score > 0
    assert 100 * bleu_counts(generated, references).bleu(n) == pytest.approx(theirs.score)


@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_bleu_equals_pycocoevalcap(n):
    scorer = pytest.importorskip("pycocoevalcap.bleu.bleu", reason="extra [metrics]").Bleu(n)
    generated, references = made_up_reports(0), made_up_reports(1)
    own, theirs = (
        {i: [" ".join(tokens)] for i, tokens in enumerate(side)} for side in (generated, references)
    )
    expected = scorer.compute_score(theirs, own, verbose=0)[0][n - 1]
    assert bleu_counts(generated, references).bleu(n) == pytest.approx(expected, abs=1e-6)


def test_bleu_of_a_draw_is_that_of_the_drawn_reports():
    generated, references = made_up_reports(0), made_up_reports(1)
    drawn = np.array([3, 3, 7, 20])
    again = bleu_counts([generated[i] for i in drawn], [references[i] for i in drawn])
    assert bleu_counts(generated, references).bleu(1, drawn) == pytest.approx(again.bleu(1))
