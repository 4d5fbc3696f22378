"""Labels of volumes or patients from a table of one's own, instead of the manifest's."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from mg3d.data.split import PreparedSplit

KEYS = ("volume_id", "patient_id")


def read_labels(
    split: PreparedSplit, table: str, columns: Sequence[str]
) -> tuple[Float[np.ndarray, "N C"], tuple[str, ...]]:
    """Labels of every volume of a split, NaN where unknown, and their names.

    Args:
        split: of a prepared folder.
        table: CSV with `volume_id` or `patient_id`, and columns of 0, 1 or nothing; "": the labels
            of the manifest.
        columns: to take; (): all.

    Raises:
        FileNotFoundError: if there is no such table.
        ValueError: if a column or a volume is missing, or a label is neither 0 nor 1; names file,
            column and patient.
    """
    path = Path(table) if table else split.folder / "manifest.csv"
    rows, offered = _aligned(path, split) if table else (split.rows, list(split.label_names))
    names = tuple(columns) or tuple(offered)
    missing = [name for name in names if name not in offered]
    if missing or not names:
        raise ValueError(
            f"{path} lacks the label columns {', '.join(missing) or '(it has none)'}; it has "
            f"{', '.join(offered) or 'no labels'}; name some of them"
        )
    labels = np.stack([_numbers(path, rows, name, split) for name in names], axis=1)
    return labels, names


def _aligned(path: Path, split: PreparedSplit) -> tuple[Any, list[str]]:
    """The table's rows in the order of the split's volumes, and the names of its label columns."""
    import pandas as pd

    if not path.is_file():
        raise FileNotFoundError(f"{path} is no file; give a table of labels (CSV)")
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    key = next((name for name in KEYS if name in table.columns), None)
    if key is None:
        raise ValueError(
            f"{path} has neither volume_id nor patient_id; it has {', '.join(table.columns)}"
        )
    twice = table[key][table[key].duplicated()]
    if len(twice):
        raise ValueError(f"{path}, column {key}: {twice.iloc[0]} is there twice; keep one row")
    absent = ~split.rows[key].isin(table[key])
    if absent.any():
        first = split.rows[absent].iloc[0]
        raise ValueError(
            f"{path}, column {key}: {int(absent.sum())} volumes of split '{split.split}' have no "
            f"row, first {first['volume_id']} of patient {first['patient_id']}; add them (an empty "
            "label means unknown)"
        )
    rows = table.set_index(key).loc[split.rows[key]].reset_index()
    return rows, [name for name in table.columns if name not in KEYS]


def _numbers(path: Path, rows: Any, name: str, split: PreparedSplit) -> Float[np.ndarray, " N"]:
    import pandas as pd

    text = rows[name].astype(str).str.strip()
    values = pd.to_numeric(text.replace("", "nan"), errors="coerce").to_numpy(dtype=float)
    wrong = ~np.isin(values, [0, 1]) & ~(np.isnan(values) & text.isin(["", "nan"]).to_numpy())
    if wrong.any():
        row = int(wrong.argmax())
        raise ValueError(
            f"{path}, column {name}, patient {split.rows['patient_id'][row]}: got '{text[row]}', "
            "expected 0, 1 or nothing (unknown); a label of several classes needs one column each"
        )
    return values
