"""Read a CSV table as it is: columns by name, nothing guessed, every fault with its line.

Source: RFC 4180 for the format; CT-RATE's tables for what occurs in it (see README.md).
"""

import csv
import io
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

SHOWN = 3  # faults named in an error


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
        TableError: if it is empty, not UTF-8, lacks a column, or a row has too few or many fields.
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
        raise TableError(
            f"{path}: column {', '.join(missing)} not found; it has {', '.join(header)}{hint}"
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


def read_number(text: str) -> float | None:
    """The number in a field, None if it is empty.

    Raises:
        ValueError: if there is something else.
    """
    return float(text) if text.strip() else None


def read_numbers(text: str) -> list[float]:
    """All numbers in a field such as "[0.7, 0.7]", found by their pattern; text is never run."""
    return [float(n) for n in re.findall(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?", text)]


def read_label(text: str) -> int | None:
    """0 or 1 (also as 0.0 and 1.0); None, unknown, if the field is empty.

    Raises:
        ValueError: if there is something else.
    """
    value = read_number(text)
    if value is None:
        return None
    if value not in (0, 1):
        raise ValueError(f"'{text}' is neither 0 nor 1")
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
            f"{path}: not UTF-8, byte {content[error.start]:#04x} at offset {error.start}; "
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
