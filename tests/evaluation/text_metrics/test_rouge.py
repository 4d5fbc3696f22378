import numpy as np
import pytest
from rouge_score.rouge_scorer import RougeScorer

from mg3d.evaluation.text_metrics.rouge import longest_common_subsequence, rouge_l


def random_reports(seed, number=40):
    numbers = np.random.default_rng(seed)
    return [
        [f"w{w}" for w in numbers.integers(0, 8, numbers.integers(1, 90))] for _ in range(number)
    ]


def by_table(a, b):
    table = np.zeros((len(a) + 1, len(b) + 1), dtype=int)
    for i, x in enumerate(a):
        for j, y in enumerate(b):
            table[i + 1, j + 1] = (
                table[i, j] + 1 if x == y else max(table[i, j + 1], table[i + 1, j])
            )
    return table[-1, -1]


def test_the_common_subsequence_equals_the_classical_table():
    for a, b in zip(random_reports(0), random_reports(1), strict=True):
        assert longest_common_subsequence(a, b) == by_table(a, b)
    assert longest_common_subsequence([], ["a"]) == longest_common_subsequence(["a"], []) == 0


@pytest.mark.parametrize(
    ("generated", "reference", "beta", "score"),
    [
        ("a b c d", "a b c d", 1.2, 1.0),
        ("a b", "c d", 1.2, 0.0),
        ("d c b a", "a b c d", 1.0, 1 / 4),  # order counts
        ("a c", "a b c d", 1.0, 2 * 1 * 0.5 / 1.5),  # precision 1, recall 1/2
        ("a c", "a b c d", 1.2, 2.44 * 0.5 / (0.5 + 1.44)),
        ("a b c d", "a c", 1.2, 2.44 * 0.5 / (1 + 1.44 * 0.5)),  # precision 1/2, recall 1
        ("", "a", 1.2, 0.0),
    ],
)
def test_rouge_l_by_hand(generated, reference, beta, score):
    assert rouge_l([generated.split()], [reference.split()], beta=beta) == pytest.approx([score])


def test_recall_counts_more_by_default():
    long, short = ["a", "b", "c", "d"], ["a", "c"]
    assert rouge_l([long], [short]) > rouge_l([short], [long])


def test_rouge_l_with_beta_1_equals_rouge_score():
    class Blanks:
        def tokenize(self, text):
            return text.split()

    judge = RougeScorer(["rougeL"], tokenizer=Blanks())
    generated, references = random_reports(2), random_reports(3)
    expected = [
        judge.score(" ".join(theirs), " ".join(own))["rougeL"].fmeasure
        for own, theirs in zip(generated, references, strict=True)
    ]
    np.testing.assert_allclose(rouge_l(generated, references, beta=1.0), expected)


def test_rouge_l_equals_pycocoevalcap():
    judge = pytest.importorskip("pycocoevalcap.rouge.rouge", reason="extra [metrics]").Rouge()
    generated, references = random_reports(2), random_reports(3)
    expected = [
        judge.calc_score([" ".join(own)], [" ".join(theirs)])
        for own, theirs in zip(generated, references, strict=True)
    ]
    np.testing.assert_allclose(rouge_l(generated, references), expected)
