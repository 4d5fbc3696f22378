"""Compare a reader's solution of an exercise with the library; errors are printed, not raised."""

import copy
import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch

TOLERANCE = 1e-5  # absolute and relative
UNTOUCHED = "○ not attempted yet"


def check(attempt: Callable[..., Any], reference: Callable[..., Any], *inputs: Any) -> None:
    """Print whether `attempt` equals `reference` on `inputs`; never raise.

    An exercise not attempted yet returns `...`, so the whole notebook still runs from top to
    bottom. Both functions get copies of the inputs, so that an attempt that changes them in place
    does not affect later cells.

    Args:
        attempt: the reader's function.
        reference: the library's; returns a tensor, an array, a number, a text, or several of them
            in a tuple, list, mapping or dataclass.
        inputs: of both.
    """
    print(judge(attempt, reference, *inputs))


def judge(attempt: Callable[..., Any], reference: Callable[..., Any], *inputs: Any) -> str:
    """The line that `check` prints."""
    try:
        got = attempt(*_copies(inputs))
    except Exception as error:  # the reader's code may do anything
        return f"✗ raised {type(error).__name__}: {error}"
    try:
        if any(part is ... for _, part in _leaves(got)):
            return UNTOUCHED
        if got is None:
            return "✗ returned nothing; does every path end in `return`?"
        fault = _compare(got, reference(*_copies(inputs)))
    except Exception as error:  # even a strange answer must not stop the notebook
        return f"✗ cannot be compared: {type(error).__name__}: {error}"
    return f"✗ {fault}" if fault else "✓ correct"


def _copies(inputs: tuple[Any, ...]) -> list[Any]:
    return [_copy(item) for item in inputs]


def _copy(item: Any) -> Any:
    if isinstance(item, torch.Tensor):
        return item.clone()  # keeps the graph: a solution may compute gradients
    if isinstance(item, torch.Generator):
        return item.clone_state()  # solution and reference draw the same numbers
    try:
        return copy.deepcopy(item)
    except Exception:  # objects that cannot be copied are passed as they are
        return item


def _leaves(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """The parts of an answer, with their names: `.target`, `[0]`; the whole has the empty name."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        for field in dataclasses.fields(value):
            yield from _leaves(getattr(value, field.name), f"{name}.{field.name}")
    elif isinstance(value, Mapping):
        for key, part in value.items():
            yield from _leaves(part, f"{name}[{key!r}]")
    elif isinstance(value, tuple | list):
        for index, part in enumerate(value):
            yield from _leaves(part, f"{name}[{index}]")
    else:
        yield name, value


def _compare(got: Any, expected: Any) -> str:
    """The first difference between answer and reference, in words; empty if there is none."""
    given, wanted = dict(_leaves(got)), dict(_leaves(expected))
    if given.keys() != wanted.keys():
        return f"expected {_describe(expected)}, got {_describe(got)}"
    for name, part in wanted.items():
        fault = _compare_leaf(given[name], part)
        if fault:
            return f"{name}: {fault}" if name else fault
    return ""


def _compare_leaf(got: Any, expected: Any) -> str:
    if not _is_numeric(expected):
        return "" if got == expected else f"expected {expected!r}, got {got!r}"
    if not _is_numeric(got):
        return f"expected {_describe(expected)}, got {_describe(got)}"
    mine, theirs = _array(got), _array(expected)
    if mine.shape != theirs.shape:
        return f"expected shape {theirs.shape}, got {mine.shape}"
    close = np.isclose(mine, theirs, rtol=TOLERANCE, atol=TOLERANCE, equal_nan=True)
    if close.all():
        return ""
    bad = int((~close).sum())
    if not np.isfinite(mine[~close]).all():
        return f"right shape, but {bad} of {close.size} values are wrong, some not finite"
    worst = np.abs(mine - theirs)[~close].max()
    return f"right shape, but {bad} of {close.size} values are off, by up to {worst:.3g}"


def _is_numeric(value: Any) -> bool:
    return isinstance(value, torch.Tensor | np.ndarray | np.generic | bool | int | float)


def _array(value: Any) -> np.ndarray:
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu().double().numpy()
    return np.asarray(value, dtype=np.float64)


def _describe(value: Any) -> str:
    if isinstance(value, torch.Tensor | np.ndarray):
        return f"{type(value).__name__} of shape {tuple(value.shape)}"
    if isinstance(value, tuple | list | Mapping):
        return f"{type(value).__name__} of {len(value)}"
    return type(value).__name__
