"""Which image of a folder is which slice: by the one number in the names that runs.

A name may hold other numbers (a patient's, "3_of_24", a window's width): they are the same in all
names. A number may have a decimal point or, after a separator, a minus sign. Where two numbers run,
or a minus may as well be a hyphen, the order is unknown, and the folder is refused.
"""

import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np

from mg3d.volumes.readers.payload import VolumeError

# A minus is one where no letter or digit stands before it, or a lone z; a point is decimal where it
# is the only one between digits (not in 1.2.840.113).
NUMBER = re.compile(
    r"(?:(?<![^\W_])|(?<=(?<![^\W_])[zZ]))[-\u2212]\d+(?:\.\d+)?(?![\d.]*\.\d)"
    r"|(?<![\d.])\d+\.\d+(?!\.?\d)|\d+"
)
UNCLEAR = re.compile(r"^[-\u2212]0\d")  # a minus before 05, or a hyphen
UNCLEAR_NAME = re.compile(r"[^\W_][-\u2212]\d+\.\d")  # likewise in pos-12.50


def in_order(folder: Path, images: list[Path]) -> tuple[list[Path], list[str]]:
    """Images by slice number, and what is odd about the numbers.

    Args:
        folder: named in errors.
        images: one or more.

    Raises:
        VolumeError: if a name has no number, two have the same, or it is not clear which one runs.
    """
    named = {path: NUMBER.findall(path.stem) for path in images}
    without = next((path for path, numbers in named.items() if not numbers), None)
    if without:
        raise VolumeError(
            f"{without}: no slice number in its name, so its place is unknown; number the slices"
        )
    manners = {NUMBER.sub("#", path.stem) for path in images}
    if len(manners) > 1:
        raise VolumeError(_named_otherwise(folder, named))
    columns = list(zip(*named.values(), strict=True))
    runs = [column for column in columns if len(set(map(_value, column))) > 1]
    running = runs[-1] if runs else columns[-1]
    order = {path: _value(word) for path, word in zip(images, running, strict=True)}
    for other in runs[:-1]:
        if not _same_order(other, running):
            raise VolumeError(_named_otherwise(folder, named))
    in_file_order = sorted(images, key=lambda path: order[path])
    for before, after in pairwise(in_file_order):
        if order[before] == order[after]:
            first, second = sorted((before.name, after.name))
            raise VolumeError(
                f"{folder}: {first} and {second} have the same slice number; "
                "one folder holds one scan, each slice once"
            )
    if any(map(UNCLEAR.match, running)) or (
        "." in running[0] and _value(running[0]) > 0 and UNCLEAR_NAME.search(images[0].stem)
    ):
        raise VolumeError(
            f"{folder}: the '-' before the slice numbers may be a minus or a hyphen, so their "
            "order is unknown; rename the slices"
        )
    return in_file_order, _odd(sorted(order.values()))


def _value(word: str) -> float:
    return float(word.replace("\u2212", "-"))


def _same_order(first: tuple[str, ...], second: tuple[str, ...]) -> bool:
    """Whether two numbers of each name rise together, slice by slice."""
    pairs = sorted((_value(b), _value(a)) for a, b in zip(first, second, strict=True))
    return all(a[0] < b[0] and a[1] < b[1] for a, b in pairwise(pairs))


def _odd(numbers: list[float]) -> list[str]:
    """Warnings about the numbers that run."""
    warnings = []
    if numbers[0] < 0:
        warnings.append("slice numbers below zero; taken with their sign")
    steps = np.diff(numbers)
    usual = 1.0 if all(float(n).is_integer() for n in numbers) else 1.5 * float(np.median(steps))
    wide = steps > usual + 1e-6
    if wide.any():
        warnings.append(
            f"slice numbers are missing in {int(wide.sum())} places, first after "
            f"{numbers[int(wide.argmax())]:g}; taken as neighbours"
        )
    return warnings


def _named_otherwise(folder: Path, named: dict[Path, list[str]]) -> str:
    """The names with the number that runs as #, so that the other numbers tell them apart."""
    manners: dict[str, list[list[str]]] = {}
    for path, numbers in named.items():
        manners.setdefault(NUMBER.sub("\0", path.stem), []).append(numbers)
    ways = {way for manner, found in manners.items() for way in _ways(manner.split("\0"), found)}
    return (
        f"{folder}: slices are named in {len(ways)} ways ({', '.join(sorted(ways)[:3])}); "
        "one folder holds one scan, and one number in its names runs"
    )


def _ways(pieces: list[str], found: list[list[str]]) -> Iterator[str]:
    """Names of one manner; a number that repeats the last in all of them runs as well."""
    columns = list(zip(*found, strict=True))
    running = [list(map(_value, column)) == list(map(_value, columns[-1])) for column in columns]
    for row in zip(*columns, strict=True):
        words = ["#" if runs else word for runs, word in zip(running, row, strict=True)]
        yield "".join(piece + word for piece, word in zip(pieces, (*words, ""), strict=True))
