"""CIDEr of each report: cosine of n-gram vectors in which what everybody says weighs nothing.

The form of the captioning literature's code (pycocoevalcap), there called CIDEr and in the paper
CIDEr-D: counts are clipped by the reference, and a Gaussian penalises a difference in length. Scale
0 to 10. Rarity is counted on the evaluated references, so the score depends on the set it is
computed on: scores on different test sets cannot be compared, and of one report it is 0.

Source: Vedantam et al., "CIDEr: consensus-based image description evaluation", CVPR 2015.
"""

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from mg3d.evaluation.text_metrics.bleu import MAX_N, count_ngrams
from mg3d.evaluation.text_metrics.checks import Tokens, check_pairs

SIGMA = 6.0  # of the length penalty, in bigrams, as in pycocoevalcap
SCALE = 10.0
Weights = dict[tuple[str, ...], float]


def cider(generated: Sequence[Tokens], references: Sequence[Tokens]) -> Float[np.ndarray, " P"]:
    """CIDEr of each report, 0 to 10; the mean is the corpus's score.

    Raises:
        ValueError: if the numbers of reports differ or a reference is empty.
    """
    check_pairs(generated, references)
    similarity = np.zeros(len(references))
    for n in range(1, MAX_N + 1):
        counts = [count_ngrams(tokens, n) for tokens in references]
        reports_with = Counter(ngram for count in counts for ngram in count)
        for i, (own, reference) in enumerate(zip(generated, counts, strict=True)):
            similarity[i] += _cosine(
                _weigh(count_ngrams(own, n), reports_with, len(references)),
                _weigh(reference, reports_with, len(references)),
            )
    own_bigrams = np.array([max(0, len(tokens) - 1) for tokens in generated])
    difference = own_bigrams - np.array([max(0, len(tokens) - 1) for tokens in references])
    return SCALE / MAX_N * similarity * np.exp(-(difference**2) / (2 * SIGMA**2))


def _weigh(count: Counter[tuple[str, ...]], reports_with: Counter, num_reports: int) -> Weights:
    """Count times the log of how rare the n-gram is among the references."""
    return {
        ngram: number * math.log(num_reports / max(1, reports_with[ngram]))
        for ngram, number in count.items()
    }


def _cosine(own: Weights, reference: Weights) -> float:
    """Cosine in which the generated report gets no more than the reference's own weight."""
    product = sum(min(own[g], reference[g]) * reference[g] for g in own.keys() & reference.keys())
    length = math.sqrt(sum(w * w for w in own.values()) * sum(w * w for w in reference.values()))
    return product / length if length else 0.0
