"""One field of a table: as a number, as a label, or as it may be printed.

No message shows more than a few words of a field, and no date: a field may hold a patient's report,
and messages end in logs.
"""

import math
import re

from mg3d.text.dates import hide_dates

__all__ = ["read_label", "read_number", "read_numbers", "show"]

FEW_WORDS, FEW_LETTERS = 6, 60  # of a field that is shown; the longest column name has 5 words
NUMBER = re.compile(r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?")
NUMPY = re.compile(r"\b(?:np|numpy)\.(?:float|int|uint)[0-9]+\(([^()]*)\)")  # as numpy 2 prints it


def show(field: object) -> str:
    """A field as it may be printed: quoted, cut to a few words, without dates."""
    text = str(field)
    words = len(text.split())
    if words > FEW_WORDS or len(text) > FEW_LETTERS:
        return f"(a text of {words} words)"
    return f"'{hide_dates(text)}'"


def read_number(text: str) -> float | None:
    """The number in a field, None if it is empty.

    Raises:
        ValueError: if there is something else; also nan, inf and 1_000.
    """
    text = text.strip()
    if not text:
        return None
    if not NUMBER.fullmatch(text) or not math.isfinite(float(text)):
        raise ValueError(f"{show(text)} is no number")
    return float(text)


def read_numbers(text: str) -> list[float]:
    """All numbers in a field such as "[0.7, 0.7]", found by their pattern; text is never run.

    A number that was printed with its type, "np.float64(0.7)", is that number.
    """
    return [float(number) for number in NUMBER.findall(NUMPY.sub(r"\1", text))]


def read_label(text: str) -> int | None:
    """0 or 1 (also as 0.0 and 1.0); None, unknown, if the field is empty.

    Raises:
        ValueError: if there is something else.
    """
    value = read_number(text)
    if value is None:
        return None
    if value not in (0, 1):
        raise ValueError(f"{show(text)} is neither 0 nor 1")
    return int(value)
