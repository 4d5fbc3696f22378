"""The table of a prepared folder: one row per volume, checked when it is read.

A prepared folder is `manifest.csv`, the volumes it names, `dataset.json` (where they come from,
what was done, which columns are labels and what masks say) and `refused.csv` (what was left out,
and why). No patient is in two splits, unless a released split that does so was asked for by name:
then dataset.json says "patient leakage as released".
"""

import csv
import io
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from mg3d.data.labels import CT_RATE_FINDINGS
from mg3d.data.masks import MaskMeaning
from mg3d.data.prepared import read_array
from mg3d.volumes.volume import replace_file

NAME = "manifest.csv"
LONE_CR, UNPAIRED = re.compile("\r(?!\n)"), re.compile("[\ud800-\udfff]")
FACTS_NAME = "dataset.json"
SPLITS = ("train", "val", "test")
ID_COLUMNS = ("volume_id", "patient_id", "scan_id", "reconstruction", "split")
FIRST_COLUMNS = (*ID_COLUMNS, "fold", "volume", "findings", "impression")  # then the labels
LAST_COLUMNS = ("masks",)
LEAK = "patient leakage as released"  # the note in dataset.json


@dataclass(frozen=True)
class Manifest:
    """A prepared folder.

    Attributes:
        folder: paths in the table are relative to it.
        rows: a pandas table with `columns_of(labels)`; labels are numbers or NaN (unknown), the
            rest is text, `reconstruction` a number.
        facts: dataset.json, or {} where there is none.
        labels: names of the label columns, as dataset.json lists them.
        masks_mean: what the numbers of the masks say.
    """

    folder: Path
    rows: Any
    facts: dict[str, Any]
    labels: tuple[str, ...]
    masks_mean: MaskMeaning


def read_manifest(folder: Path) -> Manifest:
    """Read and check the table of a prepared folder.

    Args:
        folder: the folder, or the path of its manifest.csv.

    Raises:
        FileNotFoundError: if there is none.
        ValueError: if a column, id, split or label is wrong; names file, column and row.
    """
    import pandas as pd

    path = Path(folder)
    path = path if path.suffix == ".csv" else path / NAME
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} is missing: this is no prepared folder; make one with data_prep "
            "(python -m data_prep.ct_rate --help)"
        )
    try:
        rows = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} cannot be read ({error}); prepare the data again") from error
    facts_path = path.parent / FACTS_NAME
    facts = json.loads(facts_path.read_text("utf-8")) if facts_path.is_file() else {}
    fixed = (*FIRST_COLUMNS, *LAST_COLUMNS)
    labels = tuple(facts.get("labels", [name for name in rows.columns if name not in fixed]))
    missing = [name for name in columns_of(labels) if name not in rows.columns]
    if missing:
        raise ValueError(
            f"{path} lacks the columns {', '.join(missing)}; it has {', '.join(rows.columns)}; "
            "prepare the data again, or add them (an empty label means unknown)"
        )
    if not len(rows):
        raise ValueError(f"{path} has no rows; see refused.csv beside it for the reasons")
    _check_ids(path, rows, leaky=LEAK in facts)
    for name in labels:
        _read_label(path, rows, name, facts)
    reconstruction = pd.to_numeric(rows["reconstruction"], errors="coerce")
    wrong = reconstruction.isna() | (reconstruction % 1 != 0)
    _refuse_first(path, rows, "reconstruction", wrong, "expected a whole number")
    rows["reconstruction"] = reconstruction.astype(int)
    meaning = facts.get("masks", {"kind": "bits" if labels else "", "names": labels})
    mean = MaskMeaning(meaning["kind"], tuple(meaning["names"]))
    return Manifest(path.parent, rows, facts, labels, mean)


def columns_of(labels: Sequence[str]) -> tuple[str, ...]:
    """All columns of a manifest with these labels, in order."""
    return (*FIRST_COLUMNS, *labels, *LAST_COLUMNS)


def write_manifest(
    folder: Path,
    rows: Iterable[Mapping[str, Any]],
    labels: Sequence[str] = CT_RATE_FINDINGS,
    *,
    leaky: bool = False,
) -> None:
    """Write the table of a prepared folder, atomically.

    Args:
        folder: of the data set.
        rows: values by the names of `columns_of(labels)`; a label of None is unknown, a fold left
            out is "".
        labels: names of the label columns.
        leaky: a patient may be in two splits; dataset.json must say so under the key `LEAK`.

    Raises:
        ValueError: if a patient is in two splits.
    """
    rows = list(rows)
    splits: dict[str, str] = {}
    for row in rows if not leaky else []:
        _check_split(Path(NAME), str(row["patient_id"]), str(row["split"]), splits)
    table = io.StringIO(newline="")
    writer = csv.DictWriter(table, columns_of(labels), restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: storable(value) for name, value in row.items()} for row in rows)
    replace_file(folder / NAME, table.getvalue().encode("utf-8"))


def storable(value: Any) -> Any:
    """A text as a table in UTF-8 can hold it; anything else as it is.

    A lone CR, which a reader takes for the end of the row, becomes LF, and half a surrogate pair,
    which has no bytes, U+FFFD.
    """
    return UNPAIRED.sub("\ufffd", LONE_CR.sub("\n", value)) if isinstance(value, str) else value


def read_voxels(path: Path) -> Float[Tensor, "H W D"]:
    """Read one prepared volume, 0 to 1 over its HU window.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is damaged, or not made by data_prep.
    """
    return to_unit(read_array(Path(path), "volume"))


def to_unit(stored: Shaped[np.ndarray, "H W D"]) -> Float[Tensor, "H W D"]:
    """Stored voxels (uint8, 0 to 255, or 0 to 1 in another type) as 0 to 1."""
    voxels = torch.from_numpy(stored)
    if voxels.dtype == torch.uint8:
        return voxels.float().div_(255)
    return voxels.float()


def _read_label(path: Path, rows: Any, name: str, facts: Mapping[str, Any]) -> None:
    """Turn a label column into numbers, in place; classes are counted from 0."""
    import pandas as pd

    numbers = pd.to_numeric(rows[name].replace("", "nan"), errors="coerce")
    wrong = (rows[name] != "") & numbers.isna()
    expected = "expected a number or nothing (unknown)"
    classes = facts.get("label_classes", {}).get(name)
    if classes:
        wrong |= numbers.notna() & ~numbers.isin(range(len(classes)))
        expected = f"expected 0 to {len(classes) - 1} or nothing (unknown)"
    elif name in CT_RATE_FINDINGS:
        wrong |= numbers.notna() & ~numbers.isin([0, 1])
        expected = "expected 0, 1 or nothing (unknown)"
    _refuse_first(path, rows, name, wrong, expected)
    rows[name] = numbers.astype(float)


def _check_ids(path: Path, rows: Any, *, leaky: bool) -> None:
    for name in (*ID_COLUMNS, "volume"):
        _refuse_first(path, rows, name, rows[name] == "", "expected a value")
    _refuse_first(path, rows, "volume_id", rows["volume_id"].duplicated(), "it is there twice")
    outside = f"expected one of {', '.join(SPLITS)}"
    _refuse_first(path, rows, "split", ~rows["split"].isin(SPLITS), outside)
    for name in ("volume", "masks"):
        leaves = rows[name].map(lambda p: Path(p).is_absolute() or ".." in Path(p).parts)
        _refuse_first(path, rows, name, leaves, "expected a path inside the folder")
    splits: dict[str, str] = {}
    for patient, split in zip(rows["patient_id"], rows["split"], strict=True):
        if not leaky:
            _check_split(path, patient, split, splits)


def _check_split(path: Path, patient: str, split: str, splits: dict[str, str]) -> None:
    """Remember the patient's split in `splits`; it may not change."""
    other = splits.setdefault(patient, split)
    if other != split:
        raise ValueError(
            f"{path}: patient {patient} is in split '{other}' and in split '{split}', so scores "
            "would be too good; put all scans of a patient into one split (or ask the importer for "
            "the released split by name, if it is one)"
        )


def _refuse_first(path: Path, rows: Any, column: str, wrong: Any, expected: str) -> None:
    """Raise for the first row where `wrong` is True, with the number of such rows."""
    if not wrong.any():
        return
    row = int(wrong.to_numpy().argmax())
    raise ValueError(
        f"{path}, column {column}, row {row + 1} (volume {rows['volume_id'][row]}): "
        f"got '{rows[column][row]}', {expected}; {int(wrong.sum())} of {len(rows)} rows are wrong"
    )
