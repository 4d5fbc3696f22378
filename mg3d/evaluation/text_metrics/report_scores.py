"""All text scores of generated reports, each with its protocol and interval over patients."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from mg3d.evaluation.metrics import Score
from mg3d.evaluation.per_patient import bootstrap_cases
from mg3d.evaluation.text_metrics.bleu import MAX_N, bleu_counts
from mg3d.evaluation.text_metrics.cider import cider
from mg3d.evaluation.text_metrics.meteor import meteor
from mg3d.evaluation.text_metrics.rouge import rouge_l
from mg3d.evaluation.text_metrics.tokens import tokenise


@dataclass(frozen=True)
class TextScore:
    """One text score of a corpus."""

    score: Score  # NaN if not computed
    protocol: str  # what has to stand beside the number; the reason if not computed
    per_report: Float[np.ndarray, " P"] | None = None  # None where a report has no score of its own

    def __str__(self) -> str:
        return f"{self.score} ({self.protocol})"


def score_reports(
    generated: Sequence[str],
    references: Sequence[str],
    patient_ids: Sequence[str],
    *,
    tokeniser: str = "words",
    seed: int = 0,
    draws: int = 1_000,
) -> dict[str, TextScore]:
    """BLEU-1 to BLEU-4, ROUGE-L with both betas, CIDEr and METEOR, by name.

    Args:
        generated: one text a case; "" scores 0.
        references: the case's own report.
        patient_ids: the case's patient; the interval is over patients.
        tokeniser: a name of `tokens.TOKENISERS`.
        seed: of the bootstrap.
        draws: of the bootstrap.

    Raises:
        ValueError: if the numbers of texts and patients differ, a reference has no word, or there
            is no such tokenisation.
    """
    own, theirs = tokenise(generated, tokeniser), tokenise(references, tokeniser)
    if len(patient_ids) != len(theirs):
        raise ValueError(
            f"expected a patient for each of {len(theirs)} reports, got {len(patient_ids)}"
        )

    def mean(values: Float[np.ndarray, " P"], protocol: str) -> TextScore:
        score = bootstrap_cases(
            lambda chosen: float(values[chosen].mean()), patient_ids, seed=seed, draws=draws
        )
        return TextScore(score, f"{protocol}; tokens: {tokeniser}", values)

    counts = bleu_counts(own, theirs)
    scores = {}
    for n in range(1, MAX_N + 1):
        score = bootstrap_cases(
            lambda chosen, n=n: counts.bleu(n, chosen),  # type: ignore[misc]
            patient_ids,
            seed=seed,
            draws=draws,
        )
        scores[f"BLEU-{n}"] = TextScore(score, f"corpus, not smoothed; tokens: {tokeniser}")
    scores["ROUGE-L"] = mean(rouge_l(own, theirs), "mean of reports, beta 1.2")
    scores["ROUGE-L F1"] = mean(rouge_l(own, theirs, beta=1.0), "mean of reports, beta 1")
    scores["CIDEr"] = mean(
        cider(own, theirs),
        f"mean of reports, sigma 6, 0 to 10, rarity from {len(theirs)} references",
    )
    java = meteor(own, theirs)
    if java.not_computed:
        nothing = Score(np.nan, np.nan, np.nan, len(set(patient_ids)))
        scores["METEOR"] = TextScore(nothing, f"not computed: {java.not_computed}")
    else:
        scores["METEOR"] = mean(java.per_report, "mean of reports, version 1.5")
        corpus = Score(java.corpus, np.nan, np.nan, len(set(patient_ids)))
        scores["METEOR corpus"] = TextScore(
            corpus, f"summed statistics, version 1.5, no interval; tokens: {tokeniser}"
        )
    return scores
