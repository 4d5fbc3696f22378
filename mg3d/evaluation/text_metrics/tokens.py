"""How a report becomes tokens before it is scored: two tokenisations, each with a name.

Every score depends on this choice, so the name stands beside each number. `words` is the default
and keeps what a radiologist measured ("0.8" is one token). `r2gen` is the cleaning of the R2Gen
family of report generators, which MG-3D's released code uses too; needed only where a published
number must be matched: there "0.8 cm" becomes "08 cm", and each sentence ends with the token ".".
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

UNKNOWN = "<unk>"
WORD = re.compile(r"\d+(?:[.,]\d+)*|[^\W\d_]+(?:['-][^\W\d_]+)*")

LIST_NUMBER = re.compile(r"(?<!\S)[1-5]\. ")
REMOVED = re.compile(r"""["'/\\.,?;*!%^&_+()\[\]{}:<=>@]""")


def words(text: str) -> list[str]:
    """Lower-case words and numbers, without punctuation: "5.2-cm node." is 5.2, cm, node."""
    return WORD.findall(text.lower())


def r2gen(text: str) -> list[str]:
    """The R2Gen cleaning: punctuation deleted within sentences, each sentence closed by "."."""
    text = text.lower().replace("\n", " ")
    for sign in "_ .":
        text = re.sub(rf"{re.escape(sign)}{{2,}}", sign, text)
    text = LIST_NUMBER.sub("", text)
    sentences = [REMOVED.sub("", part).split() for part in text.strip().split(". ")]
    return [token for sentence in sentences if sentence for token in (*sentence, ".")]


TOKENISERS: dict[str, Callable[[str], list[str]]] = {"words": words, "r2gen": r2gen}


def tokenise(texts: Iterable[str], tokeniser: str = "words") -> list[list[str]]:
    """Tokens of every text.

    Raises:
        ValueError: if there is no tokenisation of that name.
    """
    if tokeniser not in TOKENISERS:
        raise ValueError(f"tokeniser must be one of {', '.join(TOKENISERS)}; got {tokeniser!r}")
    return [TOKENISERS[tokeniser](text) for text in texts]


def vocabulary_of(train: Iterable[Sequence[str]], min_count: int = 3) -> set[str]:
    """Tokens that occur at least `min_count` times in the training reports."""
    counts = Counter(token for tokens in train for token in tokens)
    return {token for token, count in counts.items() if count >= min_count}


def truncated(tokens: Sequence[str], vocabulary: set[str], max_tokens: int = 149) -> list[str]:
    """A reference as the released code scores against it: rare words unknown, the end cut off.

    149 because the released 150 ids begin with the start token. Scores against such references
    are easier to reach; report them only beside those against the full texts.
    """
    return [token if token in vocabulary else UNKNOWN for token in tokens[:max_tokens]]
