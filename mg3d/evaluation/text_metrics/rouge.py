"""ROUGE-L of each report: the longest common subsequence as precision, recall and their F score.

Two F scores are in use and differ by several points, so each has its name: `beta = 1.2` (recall
counts more; pycocoevalcap, the captioning and report-generation literature) and F1, `beta = 1`
(rouge-score, torchmetrics).

Source: Lin, "ROUGE: a package for automatic evaluation of summaries", 2004; the common subsequence
by Hyyrö, "Bit-parallel LCS-length computation revisited", 2004.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from mg3d.evaluation.text_metrics.checks import Tokens, check_pairs

BETA = 1.2  # of pycocoevalcap


def longest_common_subsequence(a: Tokens, b: Tokens) -> int:
    """How many tokens can be kept, in order, in both.

    Bit i of `free` is 1 while token i of `a` has not been used. One integer holds a row of the
    classical table, so that the cost grows with the length of `b` alone.
    """
    places: dict[str, int] = {}
    for i, token in enumerate(a):
        places[token] = places.get(token, 0) | 1 << i
    everything = (1 << len(a)) - 1
    free = everything
    for token in b:
        matched = free & places.get(token, 0)
        free = (free + matched | free - matched) & everything
    return len(a) - free.bit_count()


def rouge_l(
    generated: Sequence[Tokens], references: Sequence[Tokens], *, beta: float = BETA
) -> Float[np.ndarray, " P"]:
    """ROUGE-L of each report, 0 to 1; the mean is the corpus's score.

    Args:
        generated: tokens of each generated report; an empty one scores 0.
        references: likewise, none empty.
        beta: weight of recall against precision; 1 is F1.

    Raises:
        ValueError: if their numbers differ or a reference is empty.
    """
    check_pairs(generated, references)
    scores = np.zeros(len(references))
    for i, (own, reference) in enumerate(zip(generated, references, strict=True)):
        common = longest_common_subsequence(own, reference)
        if common:
            precision, recall = common / len(own), common / len(reference)
            scores[i] = (1 + beta**2) * precision * recall / (recall + beta**2 * precision)
    return scores
