"""Whether a sentence asserts, denies, doubts or only remembers what it mentions.

Cues stand before a mention ("no", "suspicious for") or behind it ("was not observed"); a cue
reaches as far as no other statement begins in between. Comparisons with earlier examinations are
read for what they say of today: "not seen in the previous examination" asserts, "seen in the
previous examination, not seen today" denies.

Source: the idea of NegEx (Chapman et al., J. Biomed. Inform. 2001), with cues for chest CT.
"""

import re
from enum import Enum


class Certainty(Enum):
    """What a sentence says of one mention."""

    PRESENT = "present"
    ABSENT = "absent"
    UNCERTAIN = "uncertain"
    PAST = "past"  # says nothing of today


SEEN = (
    r"(?:observed|detected|seen|noted|found|present|identified|distinguished|encountered"
    r"|visible|evident)"
)
BE = r"(?:is|are|was|were|has been|have been|had been)"
EARLIER = (
    r"in (?:the |his |her |their )?(?:previous|prior|old|earlier|former) "
    r"(?:examination|exam|ct|study|tomography|review|scan)\w*(?: of the (?:patient|case))?"
)
# Blanked before anything else is looked for: they speak of the other examination.
NEW_SINCE = re.compile(rf"\b(?:which |that )?(?:{BE} )?not {SEEN} {EARLIER}")
KNOWN_BEFORE = re.compile(rf"\b(?:which |that )?(?:{BE} )?(?:{SEEN}|described|defined) {EARLIER}")
# No denials: "no change in the effusion", "not significantly different".
NO_CHANGE = re.compile(
    r"\b(?:no|not|without)(?: \w+){0,3}? (?:chang\w*|differen\w*|progress\w*|regress\w*|interval)\b"
    r"|\bnot only\b|\bcould not be (?:evaluated|assessed|measured)\b"
    r"|\bnot (?:exceed|reach)\w*"
)

DENIED_BEFORE = re.compile(
    r"\b(?:no|not|without|neither|nor|negative for|absence of|free of|lack of|instead of)\b"
)
DENIED_BEHIND = re.compile(
    rf"\b(?:not|no longer|never) (?:\w+ ){{0,2}}?"
    rf"(?:{SEEN}|enlarged|thickened|dilated|available|exist)"
    r"|\b(?:is|are|was|were|or) absent\b|\b(?:resolved|disappeared|cleared)\b"
    r"|\b(?:complete|total|full)(?:ly)? (?:\w+ )?(?:regress|resol|resor)\w*"
    r"|\bregress\w* (?:completely|totally)\b|^ ?- ?no\b"
)
DOUBTED_BEFORE = re.compile(
    r"\b(?:suspicious (?:for|of|in terms of)|suspicion of|suspected|possibl[ey]|probabl[ey]"
    r"|may|might|could be|questionable|doubtful|in terms of|differential diagnosis"
    r"|to (?:exclude|rule out))\b"
)
DOUBTED_BEHIND = re.compile(
    r"\b(?:(?:can ?not|could not|can't) be (?:excluded|ruled out)|suspected|is suspicious|possible"
    r"|may be (?:present|considered)|(?:is|are) (?:in|within) the differential)\b"
)
QUESTION = re.compile(r"[^(),;]*\?")
REMEMBERED_BEFORE = re.compile(
    r"\b(?:history of|treated for|operated (?:for|due to|because of)|previous(?! exam| ct| stud))\b"
    r"[^,]*$"
    rf"|^{EARLIER}(?:,|;|:)? (?:there|a|an)\b"
)
# Where a new statement begins, so that a cue on its other side does not reach.
NEXT_STATEMENT = re.compile(
    r";|\b(?:but|however|although|while|whereas|except|apart from|other than)\b"
    r"|\bthere (?:is|are|was|were)\b"
    rf"|\b{BE} (?:\w+ )?{SEEN}|\b{BE} (?:stable|normal|natural|available|noteworthy|remarkable)"
    r"|\baccompan\w*\b"
)


def certainty(sentence: str, start: int, end: int) -> Certainty:
    """Judge the mention at `sentence[start:end]`.

    Args:
        sentence: lower-case.
        start: first character of the mention.
        end: behind its last character.
    """
    before, behind = sentence[:start], sentence[start:]
    earlier = bool(KNOWN_BEFORE.search(behind)) and not NEW_SINCE.search(behind)
    for speaks_of_earlier in (NEW_SINCE, KNOWN_BEFORE, NO_CHANGE):
        before, behind = (_blank(speaks_of_earlier, part) for part in (before, behind))
    width = end - start
    inside, behind = behind[:width], behind[width:]
    if _reaches_forward(DENIED_BEFORE, before) or DENIED_BEFORE.search(inside):
        return Certainty.ABSENT
    if _reaches_back(DENIED_BEHIND, behind):
        return Certainty.ABSENT
    if _reaches_forward(REMEMBERED_BEFORE, before):
        return Certainty.PAST
    if earlier and not behind.strip(" ,."):
        return Certainty.PAST
    if _reaches_forward(DOUBTED_BEFORE, before) or _reaches_back(DOUBTED_BEHIND, behind):
        return Certainty.UNCERTAIN
    if QUESTION.match(behind):
        return Certainty.UNCERTAIN
    return Certainty.PRESENT


def _blank(cue: re.Pattern[str], text: str) -> str:
    return cue.sub(lambda found: " " * len(found[0]), text)


def _reaches_forward(cue: re.Pattern[str], before: str) -> bool:
    """Whether a cue before the mention reaches it."""
    return any(not NEXT_STATEMENT.search(before, found.end()) for found in cue.finditer(before))


def _reaches_back(cue: re.Pattern[str], behind: str) -> bool:
    """Whether a cue behind the mention reaches it."""
    return any(not NEXT_STATEMENT.search(behind[: found.start()]) for found in cue.finditer(behind))
