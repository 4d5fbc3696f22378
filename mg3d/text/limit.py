"""Reports longer than the model reads: what is left out, by a named rule, and how much that is.

`max_tokens` of 192 or 250 is less than many real reports have, and the impression, which sums the
report up, stands last. Cut "end", as in the released code, it is lost first; "keep_impression"
leaves out whole sentences at the end of the findings instead.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np

from mg3d.text.report import split_sentences
from mg3d.text.tokens import TokenizedReport, sentence_of_tokens, tokenize_report

REPORT_CUTS = ("end", "keep_impression")


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """How much of some reports does not fit into `max_tokens`; counts add up with `+`."""

    tokenizer: str  # of which text encoder
    max_tokens: int
    report_cut: str
    reports: int = 0
    reports_cut: int = 0
    sentences: int = 0
    sentences_lost: int = 0  # without a single token left
    impressions: int = 0
    impressions_cut: int = 0  # in part or wholly
    impressions_lost: int = 0  # wholly

    def __add__(self, other: "LeftOut") -> "LeftOut":
        counts = {
            item.name: getattr(self, item.name) + getattr(other, item.name)
            for item in fields(self)
            if item.name not in ("tokenizer", "max_tokens", "report_cut")
        }
        return LeftOut(
            tokenizer=self.tokenizer,
            max_tokens=self.max_tokens,
            report_cut=self.report_cut,
            **counts,
        )

    def __str__(self) -> str:
        limit = f"max_tokens {self.max_tokens} (tokenizer of {self.tokenizer})"
        if not self.reports_cut:
            return f"reports: all {self.reports} fit into {limit}"
        shortened = self.impressions_cut - self.impressions_lost
        end = self.report_cut == "end" and self.impressions_cut
        return (
            f"reports: {self.reports_cut} of {self.reports} are longer than {limit} and cut by the "
            f"rule '{self.report_cut}': {self.sentences_lost} of {self.sentences} sentences and "
            f"{self.impressions_lost} of {self.impressions} impressions are lost, {shortened} "
            f"impressions shortened{'; report_cut=keep_impression keeps them' if end else ''}"
        )


@dataclass(frozen=True)
class Parts:
    """The lower-cased sentences of a report's two parts."""

    findings: tuple[str, ...]
    impression: tuple[str, ...]

    @classmethod
    def of(cls, findings: str | float | None, impression: str | float | None) -> "Parts":
        """The parts of a report as they stand in a table."""
        found, concluded = (
            tuple(sentence.lower() for sentence in split_sentences(text))
            for text in (findings, impression)
        )
        return cls(found, concluded)

    @property
    def sentences(self) -> tuple[str, ...]:
        """As `report_sentences` gives them."""
        return self.findings + self.impression


def limit_report(
    tokenizer: Any, parts: Parts, max_tokens: int, *, report_cut: str = "end", name: str = ""
) -> tuple[TokenizedReport, LeftOut]:
    """Tokenise a report and leave out by rule what does not fit.

    Args:
        tokenizer: a fast Hugging Face tokenizer.
        parts: of the report.
        max_tokens: length limit, special tokens included.
        report_cut: "end": tokens behind the limit; "keep_impression": whole sentences at the end of
            the findings, and tokens only of an impression that is too long by itself.
        name: what the tokenizer is called in messages.

    Raises:
        ValueError: if there is no such rule; see also `tokenize_report`.
    """
    check_report_cut(report_cut)
    report = tokenize_report(tokenizer, parts.sentences, max_tokens)
    lengths = None if report.complete else _tokens_per_sentence(tokenizer, parts.sentences)
    left_out, kept = _count(tokenizer, parts, lengths, max_tokens, report_cut, name)
    if lengths is not None and report_cut == "keep_impression" and parts.impression:
        report = tokenize_report(tokenizer, parts.findings[:kept] + parts.impression, max_tokens)
    return report, left_out


def count_left_out(
    tokenizer: Any,
    reports: Iterable[Parts],
    max_tokens: int,
    *,
    report_cut: str = "end",
    name: str = "",
) -> LeftOut:
    """What `limit_report` leaves out of all these reports, without making their tokens.

    Args:
        tokenizer: a fast Hugging Face tokenizer, or a `tokenizers.Tokenizer`, which loads quicker.
        reports: their parts.
        max_tokens: as for `limit_report`.
        report_cut: likewise.
        name: likewise.
    """
    check_report_cut(report_cut)
    total = LeftOut(tokenizer=name, max_tokens=max_tokens, report_cut=report_cut)
    for parts in reports:
        lengths = _tokens_per_sentence(tokenizer, parts.sentences)
        total += _count(tokenizer, parts, lengths, max_tokens, report_cut, name)[0]
    return total


def check_report_cut(report_cut: str) -> None:
    """Refuse a rule that does not exist."""
    if report_cut not in REPORT_CUTS:
        raise ValueError(f"report_cut is one of {', '.join(REPORT_CUTS)}; got '{report_cut}'")


def as_facts(left_out: LeftOut) -> dict[str, Any]:
    """The counts as they stand in dataset.json."""
    return asdict(left_out)


def _count(
    tokenizer: Any,
    parts: Parts,
    lengths: np.ndarray | None,
    max_tokens: int,
    report_cut: str,
    name: str,
) -> tuple[LeftOut, int]:
    """What is left out of one report, and how many sentences of its findings stay whole.

    Args:
        tokenizer: says how many special tokens it adds.
        parts: of the report.
        lengths: tokens of each sentence; None: everything fits.
        max_tokens: length limit.
        report_cut: the rule.
        name: of the tokenizer.
    """
    split, num_sentences = len(parts.findings), len(parts.sentences)
    has_impression = bool(parts.impression)
    whole = LeftOut(
        tokenizer=name,
        max_tokens=max_tokens,
        report_cut=report_cut,
        reports=1,
        sentences=num_sentences,
        impressions=int(has_impression),
    )
    room = max_tokens - tokenizer.num_special_tokens_to_add(False)
    if lengths is None or lengths.sum() <= room:
        return whole, split
    kept = split
    if report_cut == "keep_impression" and has_impression:
        kept = int(
            np.searchsorted(np.cumsum(lengths[:split]), room - lengths[split:].sum(), "right")
        )
    starts = np.cumsum(lengths) - lengths
    starts[split:] -= lengths[kept:split].sum()
    there = starts < room
    there[kept:split] = False
    cut = bool(starts[-1] + lengths[-1] > room)
    return LeftOut(
        tokenizer=name,
        max_tokens=max_tokens,
        report_cut=report_cut,
        reports=1,
        reports_cut=1,
        sentences=num_sentences,
        sentences_lost=int((~there).sum()),
        impressions=int(has_impression),
        impressions_cut=int(has_impression and cut),
        impressions_lost=int(has_impression and not there[split:].any()),
    ), kept


def _tokens_per_sentence(tokenizer: Any, sentences: Sequence[str]) -> np.ndarray:
    """How many tokens of the joint, uncut text belong to each sentence."""
    text = " ".join(sentences)
    if hasattr(tokenizer, "backend_tokenizer"):
        offsets = tokenizer(
            text, add_special_tokens=False, return_offsets_mapping=True, verbose=False
        )["offset_mapping"]
    else:
        offsets = tokenizer.encode(text, add_special_tokens=False).offsets
    return np.bincount(sentence_of_tokens(offsets, sentences), minlength=len(sentences))
