"""Read CTRG-Chest's record files, which pair scans with reports, in either of two layouts.

The split layout is `{"train": [...], "val": [...], "test": [...]}` of records with `id`, `report`
(findings), `result` (impression) and `image_path`; the list layout is `[...]` of records with
`image_path`, a folder of JPG slices, `report`, `result`, and optionally `split`. A JSON Lines file
of such records is read as the list layout.

Source: record files of the MG-3D release; traps: README.md.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from data_prep.tables import TableError, read_json, show
from mg3d.preparation.records import Refusal
from mg3d.text.report import clean_text

SPLITS = ("train", "val", "test")
EXTENSION = re.compile(r"\.nii(\.gz)?$", re.IGNORECASE)
CASE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


@dataclass(frozen=True)
class Record:
    """One scan and its report.

    Attributes:
        place: position in the file, such as "train[3]".
        split: as released; in the list layout that of the record, "" if it has none.
        case: id without extension, such as "910".
        image: NIfTI file or folder of slices, relative to the data set's folder.
        findings: the record's `report`.
        impression: the record's `result`.
    """

    place: str
    split: str
    case: str
    image: PurePosixPath
    findings: str
    impression: str


def read_records(path: Path) -> tuple[list[Record], list[Refusal]]:
    """Usable records of a file, in order; and the others, each with position and reason.

    Raises:
        FileNotFoundError: if there is no such file.
        TableError: if it is not JSON, or has neither layout.
    """
    content = read_json(path, lines=True)
    records, refused = [], []
    for place, split, entry in _entries(path, content):
        try:
            records.append(_record(place, split, entry))
        except ValueError as error:
            refused.append(Refusal(f"{path.name}:{place}", str(error)))
    if not records and not refused:
        raise TableError(f"{path}: no record in it; fetch the file again")
    return _all_or_none_with_split(path.name, records, refused), refused


def _all_or_none_with_split(
    file: str, records: list[Record], refused: list[Refusal]
) -> list[Record]:
    """The records; if some of them have a split, those without one are refused."""
    named = [record for record in records if record.split]
    if named and len(named) < len(records):
        reason = "no split in the record, though others name theirs; add it"
        refused += [Refusal(f"{file}:{r.place}", reason) for r in records if not r.split]
        return named
    return records


def _entries(path: Path, content: Any) -> Iterator[tuple[str, str, Any]]:
    if isinstance(content, dict) and "image_path" in content:  # JSON Lines of one line
        content = [content]
    if isinstance(content, list):
        yield from ((f"[{number}]", "", entry) for number, entry in enumerate(content))
        return
    lists = content if isinstance(content, dict) else {}
    if set(lists) - set(SPLITS) or not isinstance(lists.get("train"), list):
        keys = ", ".join(show(key) for key in lists) or type(content).__name__
        raise TableError(
            f'{path}: expected {{"train": [...], "val": [...], "test": [...]}} or a list of '
            f"records, got {keys}; is this CTRG-Chest's record file?"
        )
    for split in SPLITS:
        entries = lists.get(split, [])
        if not isinstance(entries, list):
            raise TableError(f"{path}: {split} is no list; fetch the file again")
        yield from ((f"{split}[{number}]", split, entry) for number, entry in enumerate(entries))


def _record(place: str, split: str, entry: Any) -> Record:
    """Check one record.

    Raises:
        ValueError: if it cannot be used; says why.
    """
    keys = ("image_path", "report", "result", *(("id",) if split else ()))
    if not isinstance(entry, dict):
        raise ValueError(f"a {type(entry).__name__}, expected a record")
    missing = [key for key in keys if key not in entry]
    if missing:
        raise ValueError(f"no {', '.join(missing)} in the record")
    result = "" if entry["result"] is None else entry["result"]
    for key, value in (*((k, entry[k]) for k in keys if k != "result"), ("result", result)):
        if value is None:
            raise ValueError(f"{key} is null, expected a text")
        if not isinstance(value, str):
            raise ValueError(
                f"{key} is {show(value)}, which is no text"
                + ("; write it as in 910.nii.gz" if key == "id" else "")
            )
    if not clean_text(entry["report"]):
        raise ValueError("report is empty: there are no findings to learn from")
    where = split or _split_of(entry)
    image = inside(entry["image_path"])
    named = EXTENSION.sub("", image.name)
    case = EXTENSION.sub("", entry["id"]) if split else named
    if not CASE.fullmatch(case):
        raise ValueError(f"id {show(case)}, expected letters and digits, such as 910.nii.gz")
    if case != named:
        raise ValueError(
            f"id {show(case)}, but image_path names {show(image.name)}: whose image is it?"
        )
    result = result if clean_text(result) else ""
    return Record(place, where, case, image, entry["report"], result)


def _split_of(entry: dict[str, Any]) -> str:
    """The split of a record in the list layout, "" if it has none.

    Raises:
        ValueError: if it is not train, val or test.
    """
    value = entry.get("split")
    if value is None or value == "":
        return ""
    name = value.strip().lower() if isinstance(value, str) else ""
    name = "val" if name in ("valid", "validation", "dev") else name
    if name not in SPLITS:
        raise ValueError(f"split is {show(value)}, expected {', '.join(SPLITS)}")
    return name


def inside(text: str) -> PurePosixPath:
    """Path from a record file, with either kind of slash; must stay inside the data set's folder.

    Raises:
        ValueError: if it is absolute or leads out of the folder.
    """
    path = PurePosixPath(text.replace("\\", "/"))
    absolute = path.is_absolute() or PureWindowsPath(text).drive or "\0" in text
    if absolute or ".." in path.parts or not path.name:
        raise ValueError(
            f"image_path {show(text)} leads out of the data set's folder and is never opened; "
            "give a path relative to it"
        )
    return path
