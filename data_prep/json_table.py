"""Read a JSON or JSON Lines file strictly; every error names file, line and column.

Source: RFC 8259; jsonlines.org for JSON Lines.
"""

import json
from collections import Counter
from pathlib import Path
from typing import Any, NoReturn

from data_prep.decode import TableError, decode
from data_prep.fields import show

__all__ = ["read_json"]


def read_json(path: Path, *, lines: bool = False) -> Any:
    """Read a JSON file in UTF-8, with or without BOM.

    Args:
        path: of the file.
        lines: also accept JSON Lines, which become a list.

    Raises:
        FileNotFoundError: if there is no such file.
        TableError: if it is empty, not UTF-8 or not JSON, or an object has a key twice.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing; fetch it with the rest of the data set")
    text = decode(path)
    if lines and _looks_like_lines(text):
        numbered = enumerate(text.split("\n"), start=1)
        return [_parse(path, line, number) for number, line in numbered if line.strip()]
    return _parse(path, text)


def _looks_like_lines(text: str) -> bool:
    """Whether the first line is an object of its own, and more follows."""
    first, _, rest = text.strip().partition("\n")
    if not first.startswith("{") or not rest.strip():
        return False
    try:
        return isinstance(json.loads(first), dict)
    except (ValueError, RecursionError):
        return False


def _parse(path: Path, text: str, line: int = 0) -> Any:
    """Parse one JSON value; `line` is its line in a JSON Lines file."""
    place = f"{path}, line {line}" if line else str(path)

    def refuse(name: str) -> NoReturn:
        raise TableError(f"{place}: {name} is no JSON value; write null, or the number")

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            twice = next(key for key, count in Counter(k for k, _ in pairs).items() if count > 1)
            raise TableError(f"{place}: key {show(twice)} is there twice in one record; keep one")
        return found

    try:
        return json.loads(text, parse_constant=refuse, object_pairs_hook=once)
    except json.JSONDecodeError as error:
        raise TableError(
            f"{path}, line {line or error.lineno}, column {error.colno}: {error.msg} (cut off?); "
            "fetch the file again"
        ) from error
    except RecursionError as error:
        raise TableError(f"{place}: nested too deeply to be read; fetch the file again") from error
    except ValueError as error:  # a number of thousands of digits
        if isinstance(error, TableError):
            raise
        raise TableError(
            f"{place}: a number is too long to be read; fetch the file again"
        ) from error
