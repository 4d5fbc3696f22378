"""Read a CSV table or JSON list as it is: by name, nothing guessed, every fault with its place.

No message shows more than a few words of a field, and no date: a field may hold a patient's report,
and messages end in logs.

Source: RFC 4180 and RFC 8259 for the formats; CT-RATE's and CTRG's tables for what occurs in them
(see README.md).
"""

import csv
import io
import json
import math
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from mg3d.text.dates import hide_dates

SHOWN = 3  # faults named in an error
FEW_WORDS, FEW_LETTERS = 6, 60  # of a field that is shown; the longest column name has 5 words
NUMBER = re.compile(r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?")


class TableError(ValueError):
    """A table cannot be used; the message names the file, the line and what to do."""


@dataclass(frozen=True)
class Row:
    """One row.

    Attributes:
        line: at which it starts in the file, from 1.
        values: by column name.
    """

    line: int
    values: dict[str, str]

    def __getitem__(self, column: str) -> str:
        return self.values[column]


def read_table(path: Path, columns: Sequence[str]) -> list[Row]:
    """Read a comma-separated table in UTF-8, with or without BOM, LF or CRLF.

    Args:
        path: of the table.
        columns: that must be there, in any order; others are read too.

    Raises:
        FileNotFoundError: if there is no such file.
        TableError: if it is empty, not UTF-8, lacks a column or has it twice, or a row has too few
            or many fields.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing; fetch it with the rest of the data set")
    text = _decode(path)
    with _long_fields():
        reader = csv.reader(io.StringIO(text, newline=""), strict=True)
        try:
            records = list(_with_lines(reader))
        except csv.Error as error:
            raise TableError(
                f"{path}, near line {reader.line_num}: {error} (cut off inside a quoted field?); "
                "fetch the file again"
            ) from error
    header = records[0][1] if records else []
    missing = [name for name in columns if name not in header]
    if missing:
        hint = "; is its separator ;? It must be a comma" if ";" in "".join(header) else ""
        found = ", ".join(show(name).strip("'") for name in header)
        raise TableError(f"{path}: column {', '.join(missing)} not found; it has {found}{hint}")
    twice = [show(name) for name, count in Counter(header).items() if count > 1]
    if twice:
        raise TableError(
            f"{path}: {', '.join(twice)} is the name of several columns; which one is meant? "
            "Give each a name of its own"
        )
    rows = [(line, fields) for line, fields in records[1:] if fields]  # not blank lines
    ragged = [f"line {line}: {len(f)} fields" for line, f in rows if len(f) != len(header)]
    if ragged:
        raise TableError(
            f"{path}: expected {len(header)} fields a row, but {_some(ragged)}; "
            "quote fields that hold a comma, or fetch the file again"
        )
    if not rows:
        raise TableError(f"{path}: no rows, only the header; fetch the file again")
    return [Row(line, dict(zip(header, fields, strict=True))) for line, fields in rows]


def read_lines(path: Path) -> list[tuple[int, str]]:
    """The lines of a text file that are not blank, each with its number.

    Raises:
        TableError: if it is not UTF-8.
    """
    if not path.stat().st_size:
        return []
    lines = enumerate(_decode(path).splitlines(), start=1)
    return [(number, line.strip()) for number, line in lines if line.strip()]


def read_json(path: Path) -> Any:
    """Read a JSON file in UTF-8, with or without BOM.

    Raises:
        FileNotFoundError: if there is no such file.
        TableError: if it is empty, not UTF-8 or no JSON, or an object has a key twice.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing; fetch it with the rest of the data set")
    text = _decode(path)

    def refuse(name: str) -> NoReturn:
        raise TableError(f"{path}: {name} is no JSON value; write null, or the number")

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            twice = next(key for key, count in Counter(k for k, _ in pairs).items() if count > 1)
            raise TableError(f"{path}: key {show(twice)} is there twice in one record; keep one")
        return found

    try:
        return json.loads(text, parse_constant=refuse, object_pairs_hook=once)
    except json.JSONDecodeError as error:
        raise TableError(
            f"{path}, line {error.lineno}, column {error.colno}: {error.msg} (cut off?); "
            "fetch the file again"
        ) from error
    except RecursionError as error:
        raise TableError(f"{path}: nested too deeply to be read; fetch the file again") from error
    except ValueError as error:  # a number of thousands of digits
        if isinstance(error, TableError):
            raise
        raise TableError(
            f"{path}: a number is too long to be read; fetch the file again"
        ) from error


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
    """All numbers in a field such as "[0.7, 0.7]", found by their pattern; text is never run."""
    return [float(number) for number in NUMBER.findall(text)]


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


def _decode(path: Path) -> str:
    content = path.read_bytes()
    if not content:
        raise TableError(f"{path}: empty file (0 bytes); fetch it again")
    encoding = "utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        raise TableError(
            f"{path}: not {encoding.removesuffix('-sig').upper()}, byte "
            f"{content[error.start]:#04x} at offset {error.start}; "
            "save it as UTF-8 (the encoding it has is known to whoever wrote it)"
        ) from error
    if "\0" in text:
        line = text[: text.index("\0")].count("\n") + 1
        raise TableError(f"{path}, line {line}: NUL byte in the text; fetch the file again")
    return text


def _with_lines(reader: Iterable[list[str]]) -> Iterator[tuple[int, list[str]]]:
    start = 1
    for fields in reader:
        yield start, fields
        start = reader.line_num + 1  # type: ignore[attr-defined]


@contextmanager
def _long_fields() -> Iterator[None]:
    """A report may be longer than the 128 kB that the csv module allows."""
    before = csv.field_size_limit(sys.maxsize)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def _some(faults: list[str]) -> str:
    more = f" and {len(faults) - SHOWN} more" if len(faults) > SHOWN else ""
    return "; ".join(faults[:SHOWN]) + more
