"""A small WordPiece vocabulary made from reports, and the tokenizer that uses it."""

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def vocabulary(reports: Sequence[Sequence[str]], size: int) -> list[str]:
    """Special tokens, every ASCII sign at any place of a word, the reports' words, parts of them.

    Parts (first and last letters that several words share) keep unknown words of real reports from
    falling to single letters. Sorted by use, then by letters: a learner such as WordPieceTrainer
    breaks ties at random and gives another vocabulary each time.

    Args:
        reports: sentences of each.
        size: pieces kept, at most.
    """
    signs = [chr(code) for code in range(33, 127) if not chr(code).isupper()]
    words = Counter(w for report in reports for s in report for w in re.findall(r"\w+", s))
    parts: Counter[str] = Counter()
    for word in words:
        parts.update(word[:cut] for cut in range(3, len(word)))
        parts.update("##" + word[cut:] for cut in range(1, len(word) - 1))
    ranked = [
        piece
        for counts in (words, parts)
        for piece, _ in sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    ]
    inside = ["##" + sign for sign in signs if sign.isalnum()]
    return list(dict.fromkeys([*SPECIAL, *signs, *inside, *ranked]))[:size]


def build_tokenizer(pieces: Sequence[str], max_tokens: int) -> Any:
    """A lower-case WordPiece tokenizer with this vocabulary, for texts of up to `max_tokens`."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers
    from tokenizers.processors import TemplateProcessing
    from transformers import PreTrainedTokenizerFast

    places = {piece: place for place, piece in enumerate(pieces)}
    tokenizer = Tokenizer(models.WordPiece(vocab=places, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[(s, places[s]) for s in ("[CLS]", "[SEP]")]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_max_length=max_tokens,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
    )
