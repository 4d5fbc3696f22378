"""Tokens of a report, each with the number of its sentence and of its whole word.

Sentences are what SFR and SSM compare, whole words what MLM hides, so both are settled once, here.

Source: MG-3D (arXiv 2412.05876), sentence features and whole-word masking. The released code counts
the tokens of each clause alone and can drift from the joint tokenisation; here each token is placed
by the characters it was made from, which is exact for any tokenizer.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor


@dataclass(frozen=True)
class TokenizedReport:
    """One report as tokens, not padded, with the tokenizer's first and last special token."""

    tokens: Int[Tensor, " T"]
    sentence: Int[Tensor, " T"]  # 0 to len(sentences) - 1; -1 at special tokens
    word: Int[Tensor, " T"]  # running number of the whole word; -1 at special tokens
    sentences: tuple[str, ...]  # those with at least one token; the last may be cut
    complete: bool = True  # whether every token of the text is there


def tokenize_report(tokenizer: Any, sentences: Sequence[str], max_tokens: int) -> TokenizedReport:
    """Tokenise a whole report at once and record which sentence and word each token is from.

    Args:
        tokenizer: a fast Hugging Face tokenizer, such as `TextEncoder.tokenizer`.
        sentences: as `report_sentences` gives them.
        max_tokens: length limit, special tokens included. What lies behind it is cut off; sentences
            that are left without a token vanish from `sentences`.

    Raises:
        ValueError: if `max_tokens` leaves no room for a word, or the tokenizer is a slow one.
    """
    if max_tokens < 3:
        raise ValueError(
            f"max_tokens must leave room for a word between two special tokens, got {max_tokens}; "
            "use at least 3"
        )
    if not getattr(tokenizer, "is_fast", False):
        raise ValueError(
            f"tokenize_report needs a fast tokenizer, which knows where its tokens come from, got "
            f"{type(tokenizer).__name__}; load it with AutoTokenizer.from_pretrained"
        )
    encoded = tokenizer(
        " ".join(sentences),
        truncation=True,
        max_length=max_tokens,
        return_offsets_mapping=True,
    )
    word_ids = encoded.word_ids()
    real = np.array([word is not None for word in word_ids], dtype=bool)
    sentence_of = sentence_of_tokens(encoded["offset_mapping"], sentences)
    kept, sentence = _renumber(sentence_of, real)
    _, word = _renumber(np.array([-1 if w is None else w for w in word_ids], dtype=np.int64), real)
    return TokenizedReport(
        tokens=torch.tensor(encoded["input_ids"], dtype=torch.long),
        sentence=torch.from_numpy(sentence),
        word=torch.from_numpy(word),
        sentences=tuple(sentences[i] for i in kept),
        complete=len(encoded.encodings[0].overflowing) == 0,
    )


def sentence_of_tokens(
    offsets: Sequence[tuple[int, int]], sentences: Sequence[str]
) -> Int[np.ndarray, " T"]:
    """The sentence each token lies in, 0 to len(sentences) - 1.

    Args:
        offsets: first character of each token, and the one behind its last, in the sentences joined
            by single blanks.
        sentences: of the report.
    """
    # The last character decides: tokens of byte-level tokenizers start at the blank before.
    last_character = np.array([end - 1 for _, end in offsets], dtype=np.int64)
    ends = np.cumsum([len(sentence) + 1 for sentence in sentences])
    return np.searchsorted(ends, last_character, side="right")


def _renumber(numbers: np.ndarray, real: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The numbers that occur, sorted, and each place's rank among them; -1 where it is not real."""
    ranks = np.full(len(numbers), -1, dtype=np.int64)
    occurring, ranks[real] = np.unique(numbers[real], return_inverse=True)
    return occurring, ranks
