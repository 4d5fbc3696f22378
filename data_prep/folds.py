"""Folds of a data set: the released ones, or those of a fold list.

The folds released with MG-3D for MSD and COVID-19-20 are ranges of consecutive case numbers, given
by the first number of every fold but the first.

Source: fold lists of the MG-3D release, `training: [{fold, image, label}]`.
"""

from bisect import bisect_right
from collections.abc import Sequence
from pathlib import Path

from data_prep.tables import TableError, read_json


def fold_of_number(number: int, starts: Sequence[int]) -> str:
    """The fold of a case in folds of consecutive numbers.

    Args:
        number: of the case.
        starts: first number of the second and later folds, rising.
    """
    return str(bisect_right(starts, number))


def read_fold_list(path: Path) -> dict[str, str]:
    """Image file name (without folders) -> fold, from a JSON list in the released form.

    Raises:
        FileNotFoundError: if there is no such file.
        TableError: if it has another form, or an image is in two folds.
    """
    content = read_json(path)
    entries = content.get("training") if isinstance(content, dict) else None
    if not isinstance(entries, list) or not entries:
        raise TableError(f'{path}: expected {{"training": [{{"fold", "image", "label"}}, ...]}}')
    folds: dict[str, str] = {}
    for number, entry in enumerate(entries):
        if not isinstance(entry, dict) or not isinstance(entry.get("image"), str):
            raise TableError(f"{path}: entry {number} of training has no image; correct it")
        if not isinstance(entry.get("fold"), int | str):
            raise TableError(f"{path}: {entry['image']} has no fold; give the number of one")
        name = Path(entry["image"]).name
        if folds.setdefault(name, str(entry["fold"])) != str(entry["fold"]):
            raise TableError(f"{path}: {name} is there twice, in different folds; keep one")
    return folds


def split_of_fold(fold: str, held_out: str) -> str:
    """ "val" for the fold held out, "train" for all others."""
    return "val" if fold == held_out else "train"


def check_held_out(held_out: str, folds: Sequence[str]) -> None:
    """Check that the fold to hold out exists.

    Raises:
        ValueError: if it does not.
    """
    if held_out not in folds:
        names = ", ".join(sorted(set(folds)))
        raise ValueError(f"fold '{held_out}' is to be held out, but the folds are {names}")
