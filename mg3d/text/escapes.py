r"""Escapes that other formats leave in a report's text: Excel, HTML, JSON, a wrong code page.

A text that went through two programs has two layers of them; `plain_characters` asks until none is
left. What only looks like an escape stays: "<5 mm" is no tag, "R&D" no entity, "and\or" no break.

Source: Excel's `_xHHHH_` is the ST_Xstring of ECMA-376 part 1; entities, and control characters
read as windows-1252, follow the HTML standard.
"""

import html
import re
from html.entities import html5

EXCEL = re.compile(r"_(?:x005[Ff]_)*x([0-9A-Fa-f]{4})_")  # x005F is Excel's own escape of "_"
ENTITY = re.compile(
    r"&(?:(?:amp|#38|#x26);)*(?:(#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});"
    r"|(nbsp|lt(?=[\d\s=])|gt(?=[\d\s=])))"
)
_ATTRIBUTES = r"""(?:\s+[\w:-]+\s*=\s*(?:"[^"<>]*"|'[^'<>]*'|[^\s"'<>]+))*\s*/?>"""
LINE_TAG = re.compile(
    r"</?(?:br|p|div|li|ul|ol|dl|dt|dd|tr|table|tbody|thead|h[1-6]|hr|section|pre|html|body)"
    + _ATTRIBUTES,
    re.IGNORECASE,
)
CELL_TAG = re.compile(r"</?(?:td|th)" + _ATTRIBUTES, re.IGNORECASE)
POWER_TAG = re.compile(r"(?<=\d)<sup>(?=[+-]?\d)", re.IGNORECASE)
WORD_TAG = re.compile(
    r"</?(?:b|i|u|s|a|em|strong|span|font|sup|sub|small|big|mark|code|o:p)" + _ATTRIBUTES,
    re.IGNORECASE,
)
NO_TEXT = re.compile(
    r"<!--.{0,2000}?-->|<(style|script)\b[^<>]{0,200}>.{0,5000}?</\1>", re.IGNORECASE | re.DOTALL
)
# A backslash may stand for "or" ("mass\nodule"): before a small letter it breaks no word.
BREAK = re.compile(r"(?:\\[rn]){2,}|(?<!\w)\\[rn]|\\[rn](?![a-z])")
TAB = re.compile(r"\\t(?![a-z])")
CODE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|x([0-9a-fA-F]{2}))")
QUOTE = re.compile(r"""\\(["'])""")

CONTROLS = re.compile("[\x80-\x84\x86-\x9f]")  # 0x85, NEL, is a line break
_BYTE_OF = {  # what windows-1252 shows for the bytes inside a UTF-8 character
    bytes([byte]).decode("cp1252", errors="ignore") or chr(byte): byte for byte in range(128, 192)
} | {chr(byte): byte for byte in range(128, 192)}
_INSIDE = "".join(re.escape(sign) for sign in _BYTE_OF)
MISREAD = re.compile(
    f"[\u00c2-\u00df][{_INSIDE}]|[\u00e0-\u00ef][{_INSIDE}]{{2}}|[\u00f0-\u00f4][{_INSIDE}]{{3}}"
)


def decode_escapes(text: str) -> str:
    """One layer of escapes taken off."""
    if "_x" in text:
        text = EXCEL.sub(lambda match: chr(int(match[1], 16)), text)
    if "&" in text:
        text = ENTITY.sub(_entity, text)
    if "<" in text:
        text = LINE_TAG.sub("\n", NO_TEXT.sub(" ", text))
        text = WORD_TAG.sub("", POWER_TAG.sub("^", CELL_TAG.sub(" ", text)))
    if "\\" in text:
        text = TAB.sub(" ", BREAK.sub("\n", text))
        text = QUOTE.sub(r"\1", CODE.sub(lambda match: chr(int(match[1] or match[2], 16)), text))
    if not text.isascii():
        text = CONTROLS.sub(_windows, MISREAD.sub(_misread, text))
    return text


def _entity(match: re.Match[str]) -> str:
    name = match[1] or match[2]
    if name.startswith("#"):
        return html.unescape(f"&{name};")
    return html5.get(f"{name};", match[0])


def _windows(match: re.Match[str]) -> str:
    return match[0].encode("latin-1").decode("cp1252", errors="ignore")


def _misread(match: re.Match[str]) -> str:
    """≤ for what a wrong code page made of it; the text itself if that is no Latin or sign."""
    inside = [_BYTE_OF[sign] for sign in match[0][1:]]
    try:
        meant = bytes([ord(match[0][0]), *inside]).decode("utf-8")
    except UnicodeDecodeError:
        return match[0]
    return meant if meant < "\u0180" or "\u2000" <= meant < "\u2c00" or meant == "μ" else match[0]
