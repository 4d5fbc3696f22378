r"""Which characters of a report are kept, mapped or dropped: one rule, for every text.

| what comes | what becomes of it |
|---|---|
| letters, accents, digits, punctuation and signs of ASCII | kept |
| escapes of other formats: Excel's `_x000D_`, HTML's `&lt;` and `<br>`, a literal `\n` | decoded |
| UTF-8 that was read as windows-1252, and its control characters | decoded |
| signs with a plain spelling: ≤ ≥ ± − × µ ° “ … | the plain spelling, in `SIGNS` |
| forms for the eye: ligatures, full-width, mm², Ⅲ, ㎜, e + accent | NFKC |
| a fraction or power next to a digit: 1½, 10³ | 1 1/2, 10^3: never another number |
| digits of other scripts | 0 to 9 |
| blanks of any width, U+200B, private use, what no decoder understood | a blank |
| line and paragraph separators, VT, FF, NEL | a line break |
| soft hyphens, joiners, direction marks, variation selectors, control characters | dropped |
| other signs: € ↑ √ | kept, with blanks around: an unknown sign takes no word along |

A tokenizer of English reports knows none of the mapped signs: it makes one [UNK] of "≤5", digits
included. The other letters (ü, α, Chinese) are kept, whatever the tokenizer makes of them.
"""

import re
import unicodedata
from functools import lru_cache

from mg3d.text.escapes import decode_escapes

_SPELLED = {
    '"': "“”„‟«»″〝〞",
    "'": "‘’‚‛‹›′`´ʼʹ",
    "-": "−⁻₋‐‑‒–—―─",
    "•": "·●▪◦‣∙‧⋅■□◆◇○►▶➢➤✓✔⁃・\uf0b7\uf0a7\uf0d8\uf0fc\uf0a8",  # the last: Symbol, Wingdings
    "x": "×✕✖⨯╳\uf0b4",
    "/": "⁄∕÷",
    "<=": "≤≦⩽⪯≯\uf0a3",  # a tokenizer that strips accents would read ≯ as >
    ">=": "≥≧⩾⪰≮\uf0b3",
    ">": "≰",
    "<": "≱",
    "!=": "≠",
    "<<": "≪",
    ">>": "≫",
    "~": "≈≃≅∼˜",
    "+/-": "±\uf0b1",
    "-/+": "∓",
    "->": "→⇒➔",
    "<-": "←⇐",
    "*": "∗",
    "°": "˚\uf0b0",
    "μ": "\uf06d",
    ". ": "。",
    ", ": "、",
    "No. ": "№",
    "i": "ı",  # a slip of Turkish keyboards; no English vocabulary has it
    "I": "İ",  # lower() would make two characters of it
    " ": "\u200b\u2800\ufffc\ufffd\u115f\u1160\u3164\uffa0",  # blank to the eye, or unreadable
    "\n": "\v\f\x85\u2028\u2029",
    "": "™®©\u034f",
}
SIGNS = {ord(sign): plain for plain, signs in _SPELLED.items() for sign in signs}
MICRO = re.compile(r"(?<![^\W\d_])μ(?![^\W\d_a-zA-Z])")  # µm, 5 µ; not a Greek word
DEGREE = re.compile(r" *[°º]+ *")
NUMERO = re.compile(r"(?<=\b[Nn])[°º]")  # N° 3

POWERS = "⁰¹²³⁴⁵⁶⁷⁸⁹"
POWER = re.compile(rf"(?<=\d)(?=[⁺⁻]?[{POWERS}])(?<![{POWERS}])")
_NUMBERS = [chr(code) for code in range(0x80, 0x3400) if unicodedata.category(chr(code)) == "No"]
_LEADING = "".join(c for c in _NUMBERS if unicodedata.normalize("NFKC", c)[0].isdecimal())
_TRAILING = "".join(c for c in _NUMBERS if unicodedata.normalize("NFKC", c)[-1].isdecimal())
_ALONE = "".join(
    sign for sign in _LEADING if sign in _TRAILING and sign not in POWERS + "₀₁₂₃₄₅₆₇₈₉"
)
GLUED = re.compile(  # between two characters that NFKC would make one number of
    rf"(?<=\d)(?=[{_LEADING}])(?![{POWERS}])|(?<=[{_TRAILING}])(?=\d)"
    rf"|(?<=[{_ALONE}])(?=[{_ALONE}])"
)
DECIMAL_DOT = re.compile(r"(?<=\d)[·∙‧⋅・](?=\d)")  # 1·5 cm

SOFT_HYPHEN = re.compile(r"\xad[ \t]*[\r\n]*")  # a word that goes on in the next line
CONTROL = re.compile(r"[\x00-\x08\x0e-\x1b\x7f]")
BLANKS = re.compile(r"[ \t\x1c-\x1f]+")
NOT_ASCII = re.compile(r"[^\x00-\x7f]")
VARIATION = re.compile(r"[\u180b-\u180f\ufe00-\ufe0f\U000e0100-\U000e01ef]")


def plain_characters(text: str) -> str:
    r"""The text by the table above; its only blank is " ", its only line break is "\n".

    Example:
        plain_characters("1½ cm, −40 HU, ≤5 mm²")  # "1 1/2 cm, -40 HU, <=5 mm2"
    """
    while (plain := _once(text)) != text:  # until no layer of escapes is left
        text = plain
    return plain


def _once(text: str) -> str:
    text = decode_escapes(text)
    if not text.isascii():
        text = DECIMAL_DOT.sub(".", SOFT_HYPHEN.sub("", text))
        text = GLUED.sub(" ", POWER.sub("^", text))
        text = unicodedata.normalize("NFKC", NUMERO.sub("o. ", text).translate(SIGNS))
        text = MICRO.sub("u", text.translate(SIGNS)).replace("i\u0307", "i")
        text = DEGREE.sub(_degrees, text)
        text = NOT_ASCII.sub(lambda match: _by_category(match[0]), VARIATION.sub("", text))
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\v", "\n").replace("\f", "\n")
    return BLANKS.sub(" ", CONTROL.sub("", text))


def _degrees(match: re.Match[str]) -> str:
    """37°C -> 37 degrees C, 50°. -> 50 degrees."""
    follows = match.string[match.end() : match.end() + 1]
    return " degrees " if follows.isalnum() or follows == "(" else " degrees"


@lru_cache(maxsize=4096)
def _by_category(sign: str) -> str:
    kind = unicodedata.category(sign)
    if kind in ("Cf", "Cc"):
        return ""
    if kind in ("Zs", "Cs", "Co", "Cn"):
        return " "
    if kind == "Pd":
        return "-"
    if kind == "Nd":
        return str(unicodedata.decimal(sign))
    if kind[0] == "S":
        return f" {sign} "
    return sign
