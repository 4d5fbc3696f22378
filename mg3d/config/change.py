"""Change or list settings by name, without naming their groups.

config = change(find_preset("tiny"), batch_size=4, seed=1)
config = change(config, weights=config.weights.only("clip"))
"""

from dataclasses import fields, is_dataclass, replace
from difflib import get_close_matches
from typing import Any

from mg3d.config.settings import PretrainConfig


def change(config: PretrainConfig, **settings: Any) -> PretrainConfig:
    """A copy of the settings with some of them changed.

    Args:
        config: not modified.
        settings: by name, without the group (`batch_size=4`), or a whole group
            (`weights=LossWeights(clip=1.0)`).

    Raises:
        ValueError: if there is no setting of this name, or its value is invalid.
    """
    groups: dict[str, dict[str, Any]] = {}
    whole: dict[str, Any] = {}
    group_of = group_of_settings()
    for name, value in settings.items():
        if name in group_of:
            groups.setdefault(group_of[name], {})[name] = value
        elif name in groups_of_settings():
            whole[name] = value
        else:
            raise ValueError(unknown_setting(name))
    changed = {
        group: replace(whole.pop(group, getattr(config, group)), **values)
        for group, values in groups.items()
    }
    return replace(config, **whole, **changed)


def group_of_settings() -> dict[str, str]:
    """Name of each setting -> name of its group, without the settings of `weights` and `quirks`."""
    return {
        item.name: group
        for group, kind in groups_of_settings().items()
        if not kind.prefix
        for item in fields(kind)
    }


def flatten(config: PretrainConfig) -> dict[str, Any]:
    """Every setting by its name; loss weights and quirks as `weights.clip`, `quirks.padded_to`."""
    flat: dict[str, Any] = {}
    for group, kind in groups_of_settings().items():
        settings = getattr(config, group)
        flat |= {kind.prefix + item.name: getattr(settings, item.name) for item in fields(kind)}
    return flat


def unknown_setting(asked: str) -> str:
    """Error message for an unknown setting, with the most similar names that exist."""
    known = [*group_of_settings(), *groups_of_settings()]
    full = [name for name in flatten(PretrainConfig()) if "." in name]
    nearest = [name for name in full if name.split(".")[1] == asked] or get_close_matches(
        asked, [*known, *full], n=3, cutoff=0.5
    )
    if nearest:
        return f"there is no setting '{asked}'; did you mean {' or '.join(nearest)}?"
    return f"there is no setting '{asked}'; settings are {', '.join(known)}"


def groups_of_settings() -> dict[str, type[Any]]:
    """Name of each group -> its class."""
    kinds = {item.name: item.default_factory for item in fields(PretrainConfig)}
    return {name: kind for name, kind in kinds.items() if is_dataclass(kind)}  # type: ignore[misc]
