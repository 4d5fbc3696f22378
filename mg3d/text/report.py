"""From the two parts of a report, as they stand in a table, to clean sentences.

Source: MG-3D (arXiv 2412.05876) works on sentences, findings before impression, lower-cased. The
released code cuts finer, at commas and semicolons outside parentheses, and glues the clauses
together without a blank; here a unit is a sentence, as the paper says.
"""

import re

from mg3d.text.characters import plain_characters
from mg3d.text.sentences import LIST_MARK, cut_line

# What stands in a table where nothing was written.
NOTHING = frozenset({"", "not given", "nan", "none", "null", "n/a", "na"})
# Between the items of an impression: a bullet, or a quotation mark that encloses nothing.
ITEM = re.compile(r'•|(?:(?<=[ .?!:;,])|^)"+(?= |$)')


def clean_text(text: str | float | None) -> str:
    """Plain text: one spelling per sign, single blanks, one line per list item.

    `mg3d.text.characters` says what becomes of every character. "Not given.", "nan", "-", "." and
    blanks, which stand for a missing text in CT-RATE's tables, become "". A line break inside a
    sentence (the next line goes on in lower case) becomes a blank.
    """
    if not isinstance(text, str):  # a table reader's NaN or None
        return ""
    lines: list[list[str]] = []  # each of the pieces that line breaks cut it into
    for line in plain_characters(text).split("\n"):
        for number, item in enumerate(ITEM.split(line.strip())):
            item = " ".join(re.sub(r'(?<=\w)"+(?=\w)', " ", item).replace('"', "").split())
            if item in ("", ".", "-") or not any(c.isalnum() for c in item):
                continue
            if number == 0 and lines and _goes_on(lines[-1][-1], item):
                lines[-1].append(item)
            elif lines and _goes_on(lines[-1][-1], item):
                lines.append([f"• {item}"])  # or a second cleaning would take it for a broken line
            else:
                lines.append([item])
    cleaned = "\n".join(" ".join(pieces) for pieces in lines)
    return "" if cleaned.strip(" .").lower() in NOTHING else cleaned


def split_sentences(text: str | float | None) -> list[str]:
    """The sentences of a text, in order, none of them empty. Takes time linear in its length.

    Numbers (1.5 cm, .5 cm, 02.02.2018, T12. vertebra), abbreviations (e.g., approx., Dr., no. 3)
    and what stands in parentheses do not end a sentence; a missing blank ("effusion.heart size")
    does not hide its end. Semicolons and colons end none. Numbers and bullets of a list begin a
    sentence and are dropped ("1. Node 2. Cyst.").
    """
    return [sentence for line in clean_text(text).split("\n") for sentence in cut_line(line)]


def report_sentences(findings: str | float | None, impression: str | float | None) -> list[str]:
    """All sentences of a report, findings before impression, lower-cased."""
    return [s.lower() for part in (findings, impression) for s in split_sentences(part)]


def _goes_on(line: str, next_line: str) -> bool:
    """Whether a line was broken in the middle of a sentence."""
    return line[-1] not in ".?!:;" and not (next_line[0].isupper() or LIST_MARK.match(next_line))
