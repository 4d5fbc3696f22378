"""Where a line of a report is cut into sentences.

Written for reports as radiologists type them: measurements, image numbers, ordinals, abbreviations,
guesses in parentheses, and lists whose items end without a full stop.
"""

import re

# A full stop behind one of these ends no sentence.
TITLES = {"dr", "prof", "assoc", "asst", "uzm", "mr", "mrs", "ms", "vs"}
# Nor behind one of these, unless a capital letter follows ...
ABBREVIATIONS = {
    *("e.g", "i.e", "eg", "ie", "approx", "appr", "ca", "cf"),
    *("incl", "excl", "resp", "etc", "al", "lab", "iv"),
    *("rt", "lt", "bilat", "ant", "post", "sup", "inf", "lat", "med", "diam", "prev", "susp"),
}
# ... that begins no word which belongs to the abbreviation ...
LAB_WORK = re.compile(
    r" (?:Correlation|Verification|Evaluation|Findings?|Results?|Tests?|Values?)\b"
)
# ... and behind these only if no number follows.
NUMBERED = {"no", "nr", "fig", "img", "im", "ima", "se", "max", "min", "seg", "vol"}
# Behind one of these a number is its name, no mark of a list: "in segment 2. Effusion".
NAMED_BY_NUMBER = re.compile(
    r"\b(?:segments?|stations?|ribs?|vertebra[el]?|levels?|grades?|types?|stages?|groups?|zones?"
    r"|phases?|images?|series|slices?|sections?|regions?|lobes?|scores?|category|rads|covid"
    r"|and|or|to|than|about|of|at|in|on|by|x|[tlc])[ -]$",
    re.IGNORECASE,
)
# A number with a full stop before one of these is an ordinal: "T12. vertebra", "4. and 8. rib".
ORDINAL = re.compile(
    r"(?: (?:and|or|to) \d{1,2}\.)? ?"
    r"(?:vertebra|rib|costa|thoracic|lumbar|cervical|dorsal|month|year|day)"
)
ORDINALS = re.compile(
    r"(?:^|[ (])(?:\d{1,2}\.?, ?)*\d{1,2}\., ?(?:\d{1,2}\.?, ?)*\d{1,2}$"
)  # 1.,2.,3
GOES_ON = re.compile(r" (?:and|or|nor|but|with|in|on|at|of|to|for|from|as|which|versus|vs)\b")

LIST_MARK = re.compile(
    rf"^\s*(?:(?:[-*+•]+|>(?! ?=?\s*\d))\s"
    rf"|\d{{1,2}}(?:-(?= [A-Z])|\.?\)|[.)])(?!\d|{ORDINAL.pattern}))\s*"
)
NUMBER = re.compile(
    r"(?<![^\s:;.?!])(\d{1,2})(\.\)|[.)](?=[A-Za-z])|[.)-](?= [A-Z]))"
)  # may begin an item
STOP = re.compile(r"[.?!]+")
PARENTHESIS = 400  # characters; one that is not closed within holds no sentence together
NEGATIVE = re.compile(
    r"-\d+(?:[.,]\d+)?(?: ?(?:to|-|/) ?-?\d+(?:[.,]\d+)?)? ?(?:hu\b|degrees|%|sd\b|$)", re.I
)


def cut_line(line: str) -> list[str]:
    """The sentences of one clean line, in order, none of them empty, without marks of lists."""
    sentences: list[str] = []
    for item in _items(line):
        start = 0
        for stop in STOP.finditer(item):
            if _is_number_of_a_list(item, start, stop) or _ends_sentence(item, stop):
                end = stop.end() + (item[stop.end() : stop.end() + 1] == ")")
                sentences.append(item[start:end])
                start = end
        sentences.append(item[start:])
    sentences = [_without_mark(sentence) for sentence in sentences]
    return [sentence for sentence in sentences if any(c.isalnum() for c in sentence)]


def _items(line: str) -> list[str]:
    """The items of a numbered list in one line: "1. Node 2. Cyst", "1) Node 2) Cyst".

    Only numbers that count on from the line's first item cut: "segment 2. Effusion" does not.
    """
    cuts: list[int] = []
    expected, style = 0, ""
    for mark in NUMBER.finditer(line):
        number = int(mark[1])
        if cuts and number == expected and mark[2] == style:
            if NAMED_BY_NUMBER.search(line, max(0, mark.start() - 12), mark.start()):
                continue
        elif cuts or (number != 1 and mark.start() > 0):
            continue
        if ORDINAL.match(line, mark.end()):
            continue
        cuts.append(mark.start())
        expected, style = number + 1, mark[2]
    if len(cuts) < 2:
        return [line]
    return [line[a:b] for a, b in zip([0, *cuts], [*cuts, len(line)], strict=True)]


def _without_mark(sentence: str) -> str:
    sentence = LIST_MARK.sub("", sentence).strip(" *,;:").rstrip("- ")
    return sentence if NEGATIVE.match(sentence) else sentence.lstrip(" -*,;:")


def _is_number_of_a_list(line: str, start: int, stop: re.Match[str]) -> bool:
    """Whether all that stands between the last sentence and this stop is "1"; dropped later."""
    if stop.start() - start > 4:
        return False
    digits = line[start : stop.start()].strip()
    follows = line[stop.end() : stop.end() + 1]
    if not digits.isdigit() or len(digits) > 2 or follows.isdigit():
        return False
    return follows != "," and not ORDINAL.match(line, stop.end())


def _ends_sentence(line: str, stop: re.Match[str]) -> bool:
    before = line[max(0, stop.start() - 60) : stop.start()]  # short, so that time stays linear
    after = line[stop.end() : stop.end() + 2]
    if not after.strip():
        return True
    if after[0] == ")":  # "(cyst?) Bones are normal": the guess was the end of its sentence
        behind = line[stop.end() + 1 : stop.end() + 3]
        return behind[:1] == " " and behind[1:].isupper() and before.rfind("(") > before.rfind(")")
    if before.rfind("(") > before.rfind(")"):
        closed = line.find(")", stop.end(), stop.end() + PARENTHESIS)
        opened = line.find("(", stop.end(), stop.end() + PARENTHESIS)
        if closed >= 0 and (opened < 0 or closed < opened):
            return False
    if stop.group() != ".":  # "?", "..." and the like
        goes_on = set(stop.group()) == {"."} and after[1:2].islower()
        return after[0] == " " and not goes_on and not GOES_ON.match(line, stop.end())
    if after[0].isdigit() and (before[-1:].isdigit() or before[-1:] in (" ", "(", "")):
        return False
    if before[-1:].isdigit() and (ORDINAL.match(line, stop.end()) or _lists_ordinals(before)):
        return False
    word = re.split(r"[\s(,;/]", before)[-1].lower()
    last = word.rsplit(".", 1)[-1]  # "3 cm.Dr. Who"
    if last in TITLES:
        return False
    if word in ABBREVIATIONS or last in ABBREVIATIONS or re.fullmatch(r"[a-z](\.[a-z])*", word):
        if last == "lab" and LAB_WORK.match(line, stop.end()):
            return False
        return after[0] == " " and after[1:2].isupper()  # "i.v. contrast"
    if last in NUMBERED and after.strip()[0].isdigit():
        return False
    return after[0] not in ",;:)"


def _lists_ordinals(before: str) -> bool:
    """Whether ordinals are listed, "right 1.,2.,3. nondisplaced", and not ribs: "ribs 1.,2.,3."."""
    found = ORDINALS.search(before)
    return found is not None and not NAMED_BY_NUMBER.search(before[: found.start() + 1])
