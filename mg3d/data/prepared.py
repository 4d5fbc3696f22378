"""One prepared array in one file: safetensors, sliceable, no pickle, with its history as JSON.

The history (facts) says which file the array was made from and how, so that a restart knows what
need not be made again, and a heat map finds its way back to the original image. Masks are nearly
empty: of them only the box around what is marked is stored, with the bits that occur.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Integer, Shaped

from mg3d.volumes.volume import StoredGrid, replace_file

FACTS = "mg3d"  # the one metadata key; several would be written in changing order
SMALL = "stored_small"  # of the facts: how `write_masks` stored an array


def write_array(
    path: Path, name: str, array: Shaped[np.ndarray, "H W D"], facts: Mapping[str, Any]
) -> None:
    """Write one array called `name`, atomically; the same bytes for equal arguments."""
    from safetensors.numpy import save

    metadata = {FACTS: json.dumps(facts, sort_keys=True, ensure_ascii=False)}
    replace_file(path, save({name: np.ascontiguousarray(array)}, metadata))


def write_masks(path: Path, masks: Integer[np.ndarray, "H W D"], facts: Mapping[str, Any]) -> None:
    """Write masks small, as the array "masks" that `read_array` gives back bit for bit.

    Args:
        path: as for `write_array`.
        masks: 0 or more, a bit per finding or a number per class.
        facts: as for `write_array`.
    """
    if masks.size and masks.min() < 0:
        raise ValueError(f"masks hold numbers of 0 or more, got {masks.min()}")
    marked = [np.flatnonzero(masks.any(axis=axes)) for axes in ((1, 2), (0, 2), (0, 1))]
    box = tuple(slice(int(w[0]), int(w[-1]) + 1) if len(w) else slice(0, 1) for w in marked)
    inside = masks[box]
    used = int(np.bitwise_or.reduce(inside, axis=None))
    bits = [bit for bit in range(used.bit_length()) if used >> bit & 1]
    small = np.zeros(inside.shape, np.min_scalar_type((1 << len(bits)) - 1))
    for place, bit in enumerate(bits):
        small |= (inside >> bit & 1).astype(small.dtype) << place
    form = {
        "bits": bits,
        "dtype": str(masks.dtype),
        "shape": list(masks.shape),
        "start": [axis.start for axis in box],
    }
    write_array(path, "masks", small, {**facts, SMALL: form})


def read_array(path: Path, name: str) -> Shaped[np.ndarray, "H W D"]:
    """Read one array.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is damaged or holds no array of this name.
    """
    with _open_array(path, name) as (file, form):
        if not form:
            return file.get_tensor(name)
        return _unfold(file.get_slice(name), form, (0, 0, 0), form["shape"])


def read_crop(
    path: Path,
    start: tuple[int, int, int],
    shape: tuple[int, int, int],
    name: str = "volume",
) -> Shaped[np.ndarray, "h w d"]:
    """Read a part of one array, without the rest.

    Args:
        path: as for `read_array`.
        start: its first voxel.
        shape: its size, voxels.
        name: of the array.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is damaged, or the part is not wholly inside the array.
    """
    with _open_array(path, name) as (file, form):
        part = file.get_slice(name)
        whole = form["shape"] if form else part.get_shape()
        stop = [first + size for first, size in zip(start, shape, strict=True)]
        if min(start) < 0 or min(shape) < 1 or any(s > n for s, n in zip(stop, whole, strict=True)):
            raise ValueError(
                f"{path}: a crop of {tuple(shape)} voxels from {tuple(start)} leaves the array "
                f"of {tuple(whole)}; pad the prepared volume, or crop less"
            )
        if form:
            return _unfold(part, form, start, shape)
        (h, w, d), (i, j, k) = start, stop
        return part[h:i, w:j, d:k]


def array_shape(path: Path, name: str) -> tuple[int, int, int]:
    """Shape of one array as `read_array` gives it, from the file's header alone.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is damaged or holds no array of this name.
    """
    with _open_array(path, name) as (file, form):
        h, w, d = form["shape"] if form else file.get_slice(name).get_shape()
        return int(h), int(w), int(d)


def marked_voxels(path: Path) -> Integer[np.ndarray, "N 3"]:
    """Indices (h, w, d) of all voxels of a file's masks that are not 0.

    Only the box around what is marked is read, where the file holds no more.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is damaged or holds no masks.
    """
    with _open_array(path, "masks") as (file, form):
        stored = file.get_tensor("masks")
        return np.argwhere(stored) + np.array(form.get("start", (0, 0, 0)))


def read_facts(path: Path) -> dict[str, Any]:
    """How a prepared file was made; {} if it is missing, damaged or not written by data_prep."""
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


@contextmanager
def _open_array(path: Path, name: str) -> Iterator[tuple[Any, dict[str, Any]]]:
    """The open file, and how the array is stored ({}: as it is)."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np") as file:
            if name not in file.keys():  # noqa: SIM118 (not a dict)
                raise ValueError(f"{path} has no array '{name}'; prepare the data again")
            facts = json.loads((file.metadata() or {}).get(FACTS, "{}")) if name == "masks" else {}
            yield file, facts.get(SMALL, {})
    except (SafetensorError, json.JSONDecodeError) as error:
        raise ValueError(f"{path} is damaged ({error}); prepare the data again") from error


def _unfold(
    stored: Any, form: Mapping[str, Any], start: Sequence[int], shape: Sequence[int]
) -> Integer[np.ndarray, "h w d"]:
    """A part of the masks as they were, from the box that was stored."""
    array = np.zeros(shape, np.dtype(form["dtype"]))
    in_part, in_box = [], []  # the overlap of part and box, counted from the start of each
    for size, first, begin, length in zip(
        stored.get_shape(), form["start"], start, shape, strict=True
    ):
        low, high = max(first, begin), min(first + size, begin + length)
        if low >= high:
            return array
        in_part.append(slice(low - begin, high - begin))
        in_box.append(slice(low - first, high - first))
    small, inside = stored[tuple(in_box)], array[tuple(in_part)]
    for place, bit in enumerate(form["bits"]):
        inside |= (small >> place & 1).astype(array.dtype) << bit
    return array
