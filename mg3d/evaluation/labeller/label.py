"""From a report to 18 labels, each with the sentence that decided it.

Every sentence that mentions a finding is judged; an assertion anywhere outweighs doubt, and doubt
outweighs denial, since reports deny in general and assert in particular. A finding that no sentence
speaks of is "not mentioned", which is not the same as denied.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import cache

import numpy as np
from jaxtyping import Float

from mg3d.data.labels import CT_RATE_FINDINGS
from mg3d.evaluation.labeller.certainty import Certainty, certainty
from mg3d.evaluation.labeller.phrases import NORMAL, PHRASES, Phrase
from mg3d.text.report import split_sentences


class Label(Enum):
    """What a report says of a finding."""

    PRESENT = "present"
    UNCERTAIN = "uncertain"
    ABSENT = "absent"
    NOT_MENTIONED = "not mentioned"


# Strongest first: the order in which several sentences outweigh each other.
OUTWEIGHS = {
    Certainty.PRESENT: Label.PRESENT,
    Certainty.UNCERTAIN: Label.UNCERTAIN,
    Certainty.ABSENT: Label.ABSENT,
}


@dataclass(frozen=True)
class Verdict:
    """A label and where it comes from."""

    label: Label
    sentence: str = ""  # as it stands in the report; "" if no sentence decided
    words: str = ""  # the mention in it


def label_report(report: str) -> dict[str, Verdict]:
    """The verdict on each of the 18 findings, by name.

    Args:
        report: findings and impression, as text.

    Example:
        label_report("No effusion.")["Pleural effusion"].label  # Label.ABSENT
    """
    sentences = split_sentences(report)
    return {name: _weigh(_mentions(name, sentences)) for name in CT_RATE_FINDINGS}


# How "uncertain" becomes 1 or 0. "Not mentioned" is always 0, as in CT-RATE's own labels.
UNCERTAIN_AS = {"positive": 1.0, "negative": 0.0, "left out": float("nan")}


def label_matrix(
    reports: Iterable[str], uncertain_as: str = "positive"
) -> Float[np.ndarray, "P 18"]:
    """1 and 0 for every report and finding, in the order of `CT_RATE_FINDINGS`.

    Args:
        reports: findings and impression of each.
        uncertain_as: "positive", "negative" or "left out" (NaN). To stand beside every score.

    Raises:
        ValueError: if `uncertain_as` is none of these.
    """
    if uncertain_as not in UNCERTAIN_AS:
        raise ValueError(
            f"uncertain_as must be one of {', '.join(UNCERTAIN_AS)}; got {uncertain_as!r}"
        )
    number = {Label.PRESENT: 1.0, Label.UNCERTAIN: UNCERTAIN_AS[uncertain_as]}
    rows = [
        [number.get(verdict.label, 0.0) for verdict in label_report(report).values()]
        for report in reports
    ]
    return np.array(rows, dtype=float).reshape(-1, len(CT_RATE_FINDINGS))


def _mentions(name: str, sentences: Sequence[str]) -> Iterable[tuple[Certainty, Verdict]]:
    for sentence in sentences:
        lower = sentence.lower()
        for phrase in PHRASES[name]:
            for start, end in _found(phrase, lower):
                judged = certainty(lower, start, end)
                if judged in OUTWEIGHS:
                    yield judged, Verdict(OUTWEIGHS[judged], sentence, lower[start:end])
        for normal in NORMAL.get(name, ()):
            if found := _compiled(normal).search(lower):
                yield Certainty.ABSENT, Verdict(Label.ABSENT, sentence, found[0])


def _found(phrase: Phrase, sentence: str) -> Iterable[tuple[int, int]]:
    if phrase.beside and not _compiled(phrase.beside).search(sentence):
        return
    for found in _compiled(phrase.words).finditer(sentence):
        clause = _clause(sentence, found.start(), found.end())
        if not (phrase.unless and _compiled(phrase.unless).search(clause)):
            yield found.span()


def _clause(sentence: str, start: int, end: int) -> str:
    """The mention with what stands around it between commas and semicolons."""
    left = max(sentence.rfind(mark, 0, start) for mark in ",;")
    right = min((at for mark in ",;" if (at := sentence.find(mark, end)) >= 0), default=None)
    return sentence[left + 1 : right]


def _weigh(mentions: Iterable[tuple[Certainty, Verdict]]) -> Verdict:
    strength = list(OUTWEIGHS)
    return min(
        mentions, key=lambda m: strength.index(m[0]), default=(None, Verdict(Label.NOT_MENTIONED))
    )[1]


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern)
