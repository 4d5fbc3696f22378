"""From the two parts of a report, as they stand in a table, to clean sentences.

Source: MG-3D (arXiv 2412.05876) works on sentences, findings before impression, lower-cased. The
released code cuts finer, at commas and semicolons outside parentheses, and glues the clauses
together without a blank; here a unit is a sentence, as the paper says.
"""

import re
import unicodedata

# What stands in a table where nothing was written.
NOTHING = frozenset({"", "not given", "nan", "none", "null", "n/a", "na"})
# A full stop behind one of these ends no sentence.
TITLES = {"dr", "prof", "mr", "mrs", "ms", "vs"}
# Nor behind one of these, unless a capital letter follows ...
ABBREVIATIONS = {
    *("e.g", "i.e", "eg", "ie", "approx", "appr", "ca", "cf"),
    *("incl", "excl", "resp", "etc", "al", "lab", "iv"),
    *("rt", "lt", "bilat", "ant", "post", "sup", "inf", "lat", "med", "diam", "prev", "susp"),
}
# ... and behind these only if no number follows.
NUMBERED = {"no", "nr", "fig", "img", "im", "ima", "se", "max", "min", "seg", "vol"}
# A number with a full stop before one of these is an ordinal: "T12. vertebra", "4. and 8. rib".
ORDINAL = re.compile(
    r"(?: (?:and|or|to) \d{1,2}\.)? ?"
    r"(?:vertebra|rib|costa|thoracic|lumbar|cervical|dorsal|month|year|day)"
)

SPELLING = str.maketrans(
    {"“": '"', "”": '"', "„": '"', "«": '"', "»": '"', "‘": "'", "’": "'", "–": "-", "—": "-",
     "‐": "-", "‑": "-", "×": "x", "⁄": "/", "。": ". ", "、": ", ", "·": "•", "●": "•", "▪": "•",
     "◦": "•", "‣": "•", "∙": "•", "‧": "•"}
)  # fmt: skip
BREAKS = re.compile(r"[\n\r\v\f\x85\u2028\u2029]+")
# Between the items of an impression: a bullet, or a quotation mark that encloses nothing.
ITEM = re.compile(r'•|(?:(?<=[ .?!:;,])|^)"+(?= |$)')
LIST_MARK = re.compile(rf"^\s*(?:[-*+>•]+\s|\d{{1,2}}[.)](?!\d|{ORDINAL.pattern}))\s*")
STOP = re.compile(r"[.?!]+")
PARENTHESIS = 400  # characters; one that is not closed within holds no sentence together


def clean_text(text: str | float | None) -> str:
    """Plain text: one spelling per sign, single blanks, one line per list item.

    "Not given.", "nan", "-", "." and blanks, which stand for a missing text in CT-RATE's tables,
    become "". A line break inside a sentence (the next line goes on in lower case) becomes a blank.
    """
    if not isinstance(text, str):  # a table reader's NaN or None
        return ""
    text = unicodedata.normalize("NFKC", text.translate(SPELLING)).translate(SPELLING)
    lines: list[list[str]] = []  # each of the pieces that line breaks cut it into
    for line in BREAKS.split(text):
        line = "".join(c for c in line if c == "\t" or unicodedata.category(c) not in ("Cc", "Cf"))
        line = " ".join(line.split())  # runs of blanks would cost a pattern quadratic time
        for number, item in enumerate(ITEM.split(line)):
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
    does not hide its end. Semicolons and colons end none. Numbers and bullets of a list are
    dropped where they follow the end of a sentence ("1. Node. 2. Cyst.").
    """
    sentences: list[str] = []
    for line in clean_text(text).split("\n"):
        start = 0
        for stop in STOP.finditer(line):
            if _is_number_of_a_list(line, start, stop) or _ends_sentence(line, stop):
                sentences.append(line[start : stop.end()])
                start = stop.end()
        sentences.append(line[start:])
    sentences = [LIST_MARK.sub("", sentence).strip(" -*,;:") for sentence in sentences]
    return [sentence for sentence in sentences if any(c.isalnum() for c in sentence)]


def report_sentences(findings: str | float | None, impression: str | float | None) -> list[str]:
    """All sentences of a report, findings before impression, lower-cased."""
    return [s.lower() for part in (findings, impression) for s in split_sentences(part)]


def _goes_on(line: str, next_line: str) -> bool:
    """Whether a line was broken in the middle of a sentence."""
    return line[-1] not in ".?!:;" and not (next_line[0].isupper() or LIST_MARK.match(next_line))


def _is_number_of_a_list(line: str, start: int, stop: re.Match[str]) -> bool:
    """Whether all that stands between the last sentence and this stop is "1"; dropped later."""
    if stop.start() - start > 4:
        return False
    digits = line[start : stop.start()].strip()
    follows = line[stop.end() : stop.end() + 1]
    if not digits.isdigit() or len(digits) > 2 or follows.isdigit():
        return False
    return not ORDINAL.match(line, stop.end())


def _ends_sentence(line: str, stop: re.Match[str]) -> bool:
    before = line[max(0, stop.start() - 60) : stop.start()]  # short, so that time stays linear
    after = line[stop.end() : stop.end() + 2]
    if not after.strip():
        return True
    if before.rfind("(") > before.rfind(")"):
        closed = line.find(")", stop.end(), stop.end() + PARENTHESIS)
        opened = line.find("(", stop.end(), stop.end() + PARENTHESIS)
        if closed >= 0 and (opened < 0 or closed < opened):
            return False
    if stop.group() != ".":  # "?", "..." and the like
        goes_on = set(stop.group()) == {"."} and after[1:2].islower()
        return after[0] == " " and not goes_on
    if after[0].isdigit() and (before[-1:].isdigit() or before[-1:] in (" ", "(", "")):
        return False
    if before[-1:].isdigit() and ORDINAL.match(line, stop.end()):
        return False
    word = re.split(r"[\s(,;/]", before)[-1].lower()
    if word in TITLES:
        return False
    if word in ABBREVIATIONS or re.fullmatch(r"[a-z](\.[a-z])*", word):  # "i.v. contrast"
        return after[0] == " " and after[1:2].isupper()
    if word in NUMBERED and after.strip()[0].isdigit():
        return False
    return after[0] not in ",;:)"
