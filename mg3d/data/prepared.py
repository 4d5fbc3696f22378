"""One prepared array in one file: safetensors, sliceable, no pickle, with its history as JSON.

The history (facts) says which file the array was made from and how, so that a restart knows what
need not be made again, and a heat map finds its way back to the original image.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped

from mg3d.data.volume import StoredGrid, replace_file

FACTS = "mg3d"  # the one metadata key; several would be written in changing order


def write_array(
    path: Path, name: str, array: Shaped[np.ndarray, "H W D"], facts: Mapping[str, Any]
) -> None:
    """Write one array called `name`, atomically; the same bytes for equal arguments."""
    from safetensors.numpy import save

    metadata = {FACTS: json.dumps(facts, sort_keys=True, ensure_ascii=False)}
    replace_file(path, save({name: np.ascontiguousarray(array)}, metadata))


def read_array(path: Path, name: str) -> Shaped[np.ndarray, "H W D"]:
    """Read one array.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is damaged or holds no array of this name.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np") as file:
            if name not in file.keys():  # noqa: SIM118 (not a dict)
                raise ValueError(f"{path} has no array '{name}'; prepare the data again")
            return file.get_tensor(name)
    except SafetensorError as error:
        raise ValueError(f"{path} is damaged ({error}); prepare the data again") from error


def read_facts(path: Path) -> dict[str, Any]:
    """How a prepared file was made; {} if it is missing, damaged or somebody else's."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np") as file:
            return json.loads((file.metadata() or {}).get(FACTS, "{}"))
    except (SafetensorError, OSError, json.JSONDecodeError):
        return {}


def original_grid(facts: Mapping[str, Any]) -> tuple[np.ndarray, StoredGrid]:
    """What `to_original` needs: the affine of the prepared array, and the grid of its source.

    Args:
        facts: from `read_facts`.
    """
    shape = tuple(int(n) for n in facts["source_shape"])
    assert len(shape) == 3
    stored = StoredGrid(shape, np.array(facts["source_affine"], np.float64))
    return np.array(facts["affine"], np.float64), stored
