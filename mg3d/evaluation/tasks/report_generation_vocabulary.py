"""What a report decoder writes with: the pieces of a tokenizer, or the word list as released.

| name | pieces | start, end, padding | numbers |
|---|---|---|---|
| `tokenizer` | of a text encoder's tokenizer | three ids | kept: "0.8 cm" |
| `released` | words of the training reports, at least 3 times | one id, 0 | "0.8" becomes "08" |

With `released` a truncated report has no end, and its text is what `text_metrics.tokens` calls
"r2gen": needed only where a published number of CTRG-Chest must be matched.

Source: released MG-3D code (the R2Gen family of report generators) for `released`.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

from mg3d.evaluation.text_metrics.tokens import UNKNOWN, r2gen, vocabulary_of
from mg3d.text.report import split_sentences

VOCABULARIES = ("tokenizer", "released")

# A WordPiece tokenizer sets every sign apart and forgets where blanks were.
_JOINS = (
    (re.compile(r"(?<=\d) ?([.,]) (?=\d)"), r"\1"),  # 0. 8 cm
    (re.compile(r"(?<=\w) ([-/']) (?=\w)"), r"\1"),  # ground - glass, bilateral / diffuse
    (re.compile(r" ([.,;:?!%)\]])"), r"\1"),
    (re.compile(r"([(\[]) "), r"\1"),
    (re.compile(r"([<>]) (=)"), r"\1\2"),
)


class Vocabulary(ABC):
    """Reports to ids and back.

    Attributes:
        name: one of `VOCABULARIES`.
        size: number of ids.
        begin: id that every report starts with.
        end: id that a complete report ends with.
        padding: id behind the end; may be the same as `end`, so losses go by length.
    """

    name: ClassVar[str]
    size: int
    begin: int
    end: int
    padding: int

    @abstractmethod
    def pieces(self, report: str) -> list[int]:
        """Ids of a whole report, without start and end."""

    @abstractmethod
    def write(self, ids: Sequence[int]) -> str:
        """The text of ids; starts, ends and padding are left out."""

    def encode(self, report: str, max_tokens: int) -> list[int]:
        """Start, pieces and end, cut after `max_tokens`; a report that is cut has no end."""
        return [self.begin, *self.pieces(report), self.end][:max_tokens]

    def decode(self, ids: Sequence[int]) -> str:
        """The text of generated ids, up to the first end."""
        inner = list(ids[1:] if ids and ids[0] == self.begin else ids)
        return self.write(inner[: inner.index(self.end)] if self.end in inner else inner)


class TokenizerVocabulary(Vocabulary):
    """Pieces of a text encoder's tokenizer, with separate ids for start, end and padding.

    Args:
        tokenizer: a fast Hugging Face tokenizer with the tokens [CLS], [SEP] and [PAD].
    """

    name = "tokenizer"

    def __init__(self, tokenizer: Any):
        ids = (tokenizer.cls_token_id, tokenizer.sep_token_id, tokenizer.pad_token_id)
        if None in ids:
            raise ValueError(
                "the vocabulary 'tokenizer' needs a tokenizer with start, end and padding tokens "
                f"(cls, sep, pad), got ids {ids}; take a BERT-like one"
            )
        self.tokenizer, self.size = tokenizer, len(tokenizer)
        self.begin, self.end, self.padding = ids

    def pieces(self, report: str) -> list[int]:
        """Ids of the cleaned sentences."""
        text = " ".join(split_sentences(report))
        ids: list[int] = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids

    def write(self, ids: Sequence[int]) -> str:
        """The text, in lower case if the tokenizer is, signs joined to their words again."""
        text = self.tokenizer.decode(list(ids), skip_special_tokens=True)
        for pattern, joined in _JOINS:
            text = pattern.sub(joined, text)
        return " ".join(text.split())


class ReleasedVocabulary(Vocabulary):
    """Words of the training reports; 0 is start, end and padding at once, as released.

    Args:
        train: training reports.
        min_count: a rarer word is `<unk>`.
    """

    name = "released"

    def __init__(self, train: Sequence[str], min_count: int = 3):
        known = vocabulary_of((r2gen(report) for report in train), min_count)
        self.words = ["", *sorted(known), UNKNOWN]
        self.ids = {word: number for number, word in enumerate(self.words)}
        self.size = len(self.words)
        self.begin = self.end = self.padding = 0

    def pieces(self, report: str) -> list[int]:
        """Ids of the words as "r2gen" cuts them."""
        return [self.ids.get(word, self.ids[UNKNOWN]) for word in r2gen(report)]

    def write(self, ids: Sequence[int]) -> str:
        """Words and full stops, parted by blanks."""
        return " ".join(self.words[number] for number in ids if number)


def build_vocabulary(name: str, train: Sequence[str], *, tokenizer: Any = None) -> Vocabulary:
    """The vocabulary of this name.

    Args:
        name: one of `VOCABULARIES`.
        train: training reports; "released" takes its words from them.
        tokenizer: of "tokenizer".

    Raises:
        ValueError: if there is no such vocabulary, or the tokenizer does not fit.
    """
    if name == "tokenizer":
        return TokenizerVocabulary(tokenizer)
    if name == "released":
        return ReleasedVocabulary(train)
    raise ValueError(f"vocabulary is one of {', '.join(VOCABULARIES)}; got '{name}'")
