"""Reports as HTML for notebooks: marked sentences, sentence pieces, tokens, hidden words."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING

from mg3d.viz.style import CYCLE, FAINT, GREEN, INK, ORANGE, QUIET

if TYPE_CHECKING:
    from IPython.display import HTML

BOX = "line-height:1.7;max-width:48em;border-left:3px solid #d7dbe0;padding:0.2em 0 0.2em 0.9em"
ROW = "display:flex;flex-wrap:wrap;gap:0.3em;margin:0.2em 0"


def show_report(
    sentences: Sequence[str], highlights: Mapping[int, str] | None = None, *, title: str = ""
) -> "HTML":
    """A report in which some sentences are highlighted and labelled.

    Args:
        sentences: in order.
        highlights: index of a sentence -> its label, for example a finding. Sentences with the same
            label have the same colour; the label is written after each.
        title: above the report.
    """
    marked = dict(highlights or {})
    wrong = [index for index in marked if not 0 <= index < len(sentences)]
    if wrong:
        raise ValueError(
            f"highlights name the sentences {wrong}, but there are {len(sentences)}; count from 0"
        )
    colors = {name: CYCLE[i % len(CYCLE)] for i, name in enumerate(dict.fromkeys(marked.values()))}
    parts = [
        _mark(text, marked[i], colors[marked[i]]) if i in marked else escape(text)
        for i, text in enumerate(sentences)
    ]
    return _page(title, " ".join(parts))


def show_hidden_words(
    words: Sequence[str], guesses: Mapping[int, str], *, title: str = ""
) -> "HTML":
    """A report with its hidden words in boxes, each beside the model's prediction.

    Args:
        words: of the report, in order, as they were before hiding.
        guesses: index of a hidden word -> the predicted word.
        title: above the report.
    """
    parts = [
        _guess(word, guesses[i]) if i in guesses else escape(word) for i, word in enumerate(words)
    ]
    right = sum(words[i] == guess for i, guess in guesses.items())
    text = (
        f"{' '.join(parts)}<br><small style='color:{QUIET}'>{right} of {len(guesses)} right</small>"
    )
    return _page(title, text)


def show_pieces(rows: Mapping[str, Sequence[str]], *, title: str = "") -> "HTML":
    """One row per way of splitting a text: the number of pieces, and each piece in a box.

    Args:
        rows: label -> the pieces, in order.
        title: above the rows.
    """
    lines = []
    for label, pieces in rows.items():
        boxes = " ".join(_box(escape(piece), CYCLE[i % 2]) for i, piece in enumerate(pieces))
        boxes = boxes or f"<i style='color:{QUIET}'>nothing</i>"
        head = f"{escape(label)} <small style='color:{QUIET}'>{len(pieces)}</small>"
        lines.append(f"<div style='{ROW}'><span style='flex:0 0 14em'>{head}</span>{boxes}</div>")
    return _page(title, "".join(lines))


def show_tokens(
    tokens: Sequence[str],
    sentence: Sequence[int],
    word: Sequence[int],
    hidden: Sequence[bool] | None = None,
    *,
    title: str = "",
) -> "HTML":
    """The tokens of a report: one line per sentence, one box per word, dots between its tokens.

    Args:
        tokens: as text, in order.
        sentence: sentence of each, -1 for none (special tokens, left out).
        word: whole word of each, -1 for none.
        hidden: True where a token is hidden from the model; marked.
        title: above the report.
    """
    hidden = hidden if hidden is not None else [False] * len(tokens)
    if not len(tokens) == len(sentence) == len(word) == len(hidden):
        raise ValueError(
            "tokens, sentence, word and hidden have one entry per token, but there are "
            f"{len(tokens)}, {len(sentence)}, {len(word)} and {len(hidden)}"
        )
    lines: dict[int, dict[int, list[str]]] = {}
    for token, line, place, gone in zip(tokens, sentence, word, hidden, strict=True):
        if line >= 0:
            text = escape(token.removeprefix("##"))
            if gone:
                text = f"<span style='background:{INK};color:white'>{text}</span>"
            lines.setdefault(int(line), {}).setdefault(int(place), []).append(text)
    body = []
    for line, words in lines.items():
        boxes = (
            _box("·".join(pieces), ORANGE if len(pieces) > 1 else FAINT)
            for pieces in words.values()
        )
        body.append(f"<small style='color:{QUIET}'>{line}</small> {' '.join(boxes)}<br>")
    return _page(title, "".join(body))


def _box(html: str, color: str) -> str:
    style = f"border:1px solid {color};border-radius:3px;padding:0 0.25em;background:{color}1f"
    return f"<span style='{style};white-space:pre-wrap'>{html}</span>"


def _mark(text: str, name: str, color: str) -> str:
    return (
        f"<mark style='background:{color}26;border-bottom:2px solid {color};color:inherit'>"
        f"{escape(text)}</mark>&nbsp;<small style='color:{color}'><b>{escape(name)}</b></small>"
    )


def _guess(word: str, guess: str) -> str:
    right = word == guess
    color, sign = (GREEN, "✓") if right else (ORANGE, "✗")
    said = "" if right else f" <s style='color:{QUIET}'>{escape(guess)}</s>"
    return (
        f"<span style='border:1px solid {color};border-radius:3px;padding:0 0.25em'>"
        f"<b style='color:{color}'>{sign}</b> {escape(word)}{said}</span>"
    )


def _page(title: str, body: str) -> "HTML":
    from IPython.display import HTML

    head = f"<b>{escape(title)}</b><br>" if title else ""
    return HTML(f"<div style='{BOX}'>{head}{body}</div>")
