"""Parse one field of a table as number or label, or shorten it for messages.

A field may hold a patient's report, and messages end up in logs. Messages therefore show at most a
few words of a field, and no dates.
"""

import math
import re

from mg3d.text.dates import hide_dates

__all__ = ["read_label", "read_number", "read_numbers", "show"]

FEW_WORDS, FEW_LETTERS = 6, 60  # of a field that is shown; the longest column name has 5 words
NUMBER = re.compile(r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?")
NUMPY = re.compile(r"\b(?:np|numpy)\.(?:float|int|uint)[0-9]+\(([^()]*)\)")  # as numpy 2 prints it


def show(field: object) -> str:
    """A field for messages: quoted, cut to a few words, without dates."""
    text = str(field)
    words = len(text.split())
    if words > FEW_WORDS or len(text) > FEW_LETTERS:
        return f"(a text of {words} words)"
    return f"'{hide_dates(text)}'"


def read_number(text: str) -> float | None:
    """The number in a field, None if it is empty.

    Raises:
        ValueError: if it is not a number; nan, inf and 1_000 are refused as well.
    """
    text = text.strip()
    if not text:
        return None
    if not NUMBER.fullmatch(text) or not math.isfinite(float(text)):
        raise ValueError(f"{show(text)} is no number")
    return float(text)


def read_numbers(text: str) -> list[float]:
    """All numbers in a field such as "[0.7, 0.7]", by regular expression; nothing is evaluated.

    A number printed by numpy with its type, "np.float64(0.7)", is read as 0.7.
    """
    return [float(number) for number in NUMBER.findall(NUMPY.sub(r"\1", text))]


def read_label(text: str) -> int | None:
    """0 or 1 (also as 0.0 and 1.0); None, unknown, if the field is empty.

    Raises:
        ValueError: if it is neither.
    """
    value = read_number(text)
    if value is None:
        return None
    if value not in (0, 1):
        raise ValueError(f"{show(text)} is neither 0 nor 1")
    return int(value)
