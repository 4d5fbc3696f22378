"""BLEU-1 to BLEU-4 of a corpus: clipped n-gram precision, and a penalty for being too short.

Counts are kept per report, so that the score of any subset of reports (a bootstrap draw) is a sum
away. One reference a report; no smoothing: without a single common 4-gram BLEU-4 is 0. Equals
sacrebleu with `tokenize="none", smooth_method="none"` and pycocoevalcap on the same tokens.

Source: Papineni et al., "BLEU: a method for automatic evaluation of machine translation", ACL 2002.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from mg3d.evaluation.text_metrics.checks import Tokens, check_pairs

MAX_N = 4


@dataclass(frozen=True)
class BleuCounts:
    """What BLEU needs to know of each report. Column i is about (i + 1)-grams."""

    matches: Int[np.ndarray, "P 4"]  # n-grams also in the reference, at most as often as there
    generated: Int[np.ndarray, "P 4"]  # n-grams of the generated report
    reference_tokens: Int[np.ndarray, " P"]

    def bleu(self, n: int, chosen: Int[np.ndarray, " N"] | None = None) -> float:
        """Corpus BLEU with n-grams up to `n` (1 to 4), 0 to 1.

        Args:
            n: the largest order; orders are weighted equally.
            chosen: indices of the reports, repeats allowed; None for all.
        """
        rows = slice(None) if chosen is None else chosen
        matches, generated = self.matches[rows].sum(0)[:n], self.generated[rows].sum(0)[:n]
        if not matches.all():
            return 0.0
        brevity = min(0.0, 1 - self.reference_tokens[rows].sum() / generated[0])
        return float(np.exp(brevity + np.log(matches / generated).mean()))


def count_ngrams(tokens: Tokens, n: int) -> Counter[tuple[str, ...]]:
    """How often each run of `n` tokens occurs."""
    return Counter(zip(*(tokens[i:] for i in range(n)), strict=False))


def bleu_counts(generated: Sequence[Tokens], references: Sequence[Tokens]) -> BleuCounts:
    """Compare every generated report with its reference.

    Raises:
        ValueError: if their numbers differ or a reference is empty.
    """
    check_pairs(generated, references)
    matches, totals = [], []
    for own, reference in zip(generated, references, strict=True):
        orders = range(1, MAX_N + 1)
        both = [(count_ngrams(own, n), count_ngrams(reference, n)) for n in orders]
        matches.append([(mine & theirs).total() for mine, theirs in both])
        totals.append([mine.total() for mine, _ in both])
    lengths = [len(tokens) for tokens in references]
    return BleuCounts(np.array(matches), np.array(totals), np.array(lengths))
