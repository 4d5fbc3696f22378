"""Types and ranges of settings, declared as annotations and checked when a group is created.

    workers: Annotated[int, Range(at_least=0)] = 4

The same rules hold for settings from a notebook, a JSON file and a command line. A list is accepted
for a tuple and an int for a float; nothing else is converted: `True` is not a number, 8.0 is not an
int, and "8" is neither.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from numbers import Integral, Real
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

KINDS = {
    int: "a whole number",
    float: "a number",
    bool: "True or False",
    str: "text",
    Path: "a path",
}
PLURAL = {int: "whole numbers", float: "numbers"}


@dataclass(frozen=True, kw_only=True)
class Range:
    """Bounds of a number; by default there are none."""

    at_least: float = -math.inf
    above: float = -math.inf
    below: float = math.inf
    at_most: float = math.inf

    def allows(self, value: float) -> bool:
        """Whether the value is in range."""
        return self.at_least <= value <= self.at_most and self.above < value < self.below

    def __str__(self) -> str:
        bounds = [(name.replace("_", " "), getattr(self, name)) for name in vars(self)]
        return " and ".join(f"{name} {bound}" for name, bound in bounds if math.isfinite(bound))


class OneOf:
    """A choice from a list of names. The list is kept by reference, so names can be added later."""

    def __init__(self, names: list[str]) -> None:
        self.names = names

    def allows(self, value: str) -> bool:
        """Whether the value is one of the names."""
        return value in self.names

    def __str__(self) -> str:
        return f"one of {', '.join(self.names)}"


class Checked:
    """Base of the groups of settings (frozen dataclasses): checks all fields when created."""

    prefix = ""  # written before a setting's name in messages and options, such as "weights."

    def __post_init__(self) -> None:
        check_settings(self)


def check_settings(group: Checked) -> None:
    """Check every setting of a group and convert it to its declared type (list to tuple, 1 to 1.0).

    Args:
        group: a frozen dataclass.

    Raises:
        ValueError: naming the setting, what was expected and what was given.
    """
    hints = get_type_hints(type(group), include_extras=True)
    for item in fields(group):  # type: ignore[arg-type]
        name = group.prefix + item.name
        value = check_value(name, getattr(group, item.name), hints[item.name])
        object.__setattr__(group, item.name, value)


def check_value(name: str, value: Any, hint: Any) -> Any:
    """Check a value and convert it to its declared type.

    Args:
        name: of the setting, for the message.
        value: as given.
        hint: the setting's annotation, with `Range` or `OneOf` in `Annotated`.

    Raises:
        ValueError: if it has another type or is out of range.
    """
    try:
        return _typed(value, hint)
    except (TypeError, ValueError):
        raise ValueError(f"{name} is {describe(hint)}, got {value!r}") from None


def describe(hint: Any) -> str:
    """Describe the allowed values of a setting: "a whole number (at least 1)"."""
    kind, rules = _split(hint)
    if any(isinstance(rule, OneOf) for rule in rules):
        return str(rules[0])
    if get_origin(kind) is UnionType:
        words = " or ".join(map(describe, get_args(kind)))
    elif get_origin(kind) is Literal:
        words = f"one of {', '.join(get_args(kind))}"
    elif get_origin(kind) is tuple:
        element, rules = _split(get_args(kind)[0])  # all elements have the same rules
        words = f"{len(get_args(kind))} {PLURAL[element]}"
    elif kind is NoneType:
        words = "None"
    elif _origin(kind) is Mapping:
        words = "a mapping of names to JSON values"
    else:
        words = KINDS.get(kind, f"a {kind.__name__}")
    return f"{words} ({' and '.join(map(str, rules))})" if rules else words


def as_tuples(value: Any) -> Any:
    """Convert lists to tuples, nested ones as well, so that settings from JSON compare as equal."""
    if isinstance(value, Mapping):
        return {key: as_tuples(inner) for key, inner in value.items()}
    return tuple(map(as_tuples, value)) if isinstance(value, list | tuple) else value


def _split(hint: Any) -> tuple[Any, list[Any]]:
    """The type and the rules of an annotation; other metadata in `Annotated` are ignored."""
    if get_origin(hint) is not Annotated:
        return hint, []
    kind, *rules = get_args(hint)
    return kind, [rule for rule in rules if hasattr(rule, "allows")]


def _origin(kind: Any) -> Any:
    return get_origin(kind) or kind


def _typed(value: Any, hint: Any) -> Any:
    kind, rules = _split(hint)
    if get_origin(kind) is UnionType:
        return None if value is None else _typed(value, get_args(kind)[0])
    typed = _converted(value, kind)
    if not all(rule.allows(typed) for rule in rules):
        raise ValueError
    return typed


def _converted(value: Any, kind: Any) -> Any:
    if get_origin(kind) is tuple and isinstance(value, list | tuple):
        return tuple(_typed(one, hint) for one, hint in zip(value, get_args(kind), strict=True))
    if get_origin(kind) is Literal and value in get_args(kind):
        return value
    if _origin(kind) is Mapping and isinstance(value, Mapping):
        json.dumps(value)  # TypeError if the run could not store the value in config.json
        return as_tuples(value)
    if kind is int and isinstance(value, Integral) and not isinstance(value, bool):
        return int(value)
    if kind is float and isinstance(value, Real) and not isinstance(value, bool):
        if math.isfinite(value):
            return float(value)
    elif isinstance(kind, type) and isinstance(value, kind) and kind is not int:
        return value
    raise TypeError


def check_divides(batch_size: int, accumulation: int) -> None:
    """Refuse a batch that cannot be split into equal micro-batches.

    Raises:
        ValueError: if `accumulation` does not divide `batch_size`.
    """
    if batch_size % accumulation:
        raise ValueError(
            f"batch_size {batch_size} must be divisible by accumulation {accumulation}; choose an "
            "accumulation that divides it"
        )
