"""Read a CSV table strictly: columns by name, nothing guessed, every error with its line.

Completely empty columns and rows, as spreadsheets leave them, are skipped.

Source: RFC 4180 for the format; CT-RATE's tables for what occurs in it (see README.md).
"""

import csv
import io
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from data_prep.decode import TableError, decode
from data_prep.fields import read_label, read_number, read_numbers, show
from data_prep.json_table import read_json

__all__ = [
    "Row",
    "TableError",
    "read_json",
    "read_label",
    "read_lines",
    "read_number",
    "read_numbers",
    "read_table",
    "same_text",
    "show",
]

SEPARATORS = {";": ";", "\t": "a tab", "|": "|"}
SHOWN = 3  # number of faults named in an error


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

    def says_the_same(self, other: "Row", *, but: Sequence[str] = ()) -> bool:
        """Whether two rows are equal, except for blanks at the ends and kinds of line break.

        Args:
            other: a row of the same table.
            but: columns that are not compared, such as a name with two spellings.
        """
        return all(
            same_text(value, other.values[name])
            for name, value in self.values.items()
            if name not in but
        )


def same_text(one: str, other: str) -> bool:
    """Whether two texts are equal, except for blanks at the ends and kinds of line break."""
    return one.split() == other.split()


def read_table(path: Path, columns: Sequence[str]) -> list[Row]:
    """Read a comma-separated table in UTF-8, with or without BOM, LF or CRLF.

    Args:
        path: of the table.
        columns: required columns, in any order; others are read too.

    Raises:
        FileNotFoundError: if there is no such file.
        TableError: if it is empty, not UTF-8, lacks a column or has it twice, or a row has too few
            or many fields.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing; fetch it with the rest of the data set")
    header, rows = _without_nothing(_records(path))
    _check_header(path, header, columns)
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
    lines = enumerate(decode(path).splitlines(), start=1)
    return [(number, line.strip()) for number, line in lines if line.strip()]


def _records(path: Path) -> list[tuple[int, list[str]]]:
    """The fields of every record, and the line at which it starts."""
    with _long_fields():
        reader = csv.reader(io.StringIO(decode(path), newline=""), strict=True)
        try:
            return list(_with_lines(reader))
        except csv.Error as error:
            raise TableError(
                f"{path}, near line {reader.line_num}: {error} (cut off inside a quoted field?); "
                "fetch the file again"
            ) from error


def _without_nothing(
    records: list[tuple[int, list[str]]],
) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """Header and rows, without empty rows and without columns that have no name and no content."""
    if records and records[0][1] and records[0][1][0].startswith("sep="):  # Excel's own line
        records = records[1:]
    header = [name.strip() for name in records[0][1]] if records else []
    rows = [(line, fields) for line, fields in records[1:] if any(map(str.strip, fields))]
    used = {place for _, fields in rows for place, field in enumerate(fields) if field.strip()}
    empty = {n for n, name in enumerate(header) if not name.strip() and n not in used}

    def kept(fields: list[str]) -> list[str]:
        return [field for place, field in enumerate(fields) if place not in empty]

    return kept(header), [(line, kept(fields)) for line, fields in rows]


def _check_header(path: Path, header: list[str], columns: Sequence[str]) -> None:
    missing = [name for name in columns if name not in header]
    if missing:
        other = next((sign for sign in (";", "\t", "|") if sign in "".join(header)), "")
        hint = f"; is its separator {SEPARATORS[other]}? It must be a comma" if other else ""
        found = ", ".join(show(name).strip("'") for name in header)
        raise TableError(f"{path}: column {', '.join(missing)} not found; it has {found}{hint}")
    twice = [name for name, count in Counter(header).items() if count > 1]
    if twice:
        where = [str(place) for place, name in enumerate(header, start=1) if name == twice[0]]
        name = show(twice[0]) if twice[0].strip() else "nothing"
        raise TableError(
            f"{path}: {name} is the name of several columns ({', '.join(where)}); which one is "
            "meant? Give each a name of its own"
        )


def _with_lines(reader: Iterable[list[str]]) -> Iterator[tuple[int, list[str]]]:
    start = 1
    for fields in reader:
        yield start, fields
        start = reader.line_num + 1  # type: ignore[attr-defined]


@contextmanager
def _long_fields() -> Iterator[None]:
    """Raise the csv module's limit of 128 kB per field: a report may be longer."""
    before = csv.field_size_limit(sys.maxsize)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def _some(faults: list[str]) -> str:
    more = f" and {len(faults) - SHOWN} more" if len(faults) > SHOWN else ""
    return "; ".join(faults[:SHOWN]) + more
