"""Read and write settings as JSON; files of earlier versions, without groups, can be read too."""

import json
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from mg3d.config.change import group_of_settings, groups_of_settings
from mg3d.config.settings import PretrainConfig

RENAMED = {"clip_gradient": "max_grad_norm"}  # name in files of earlier versions -> setting


def write_config(config: PretrainConfig, path: Path) -> None:
    """Write every setting as JSON, readable by `read_config`."""
    path.write_text(json.dumps(asdict(config), indent=2) + "\n")


def read_config(path: Path) -> PretrainConfig:
    """Read the settings a run wrote beside its results.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is not JSON, or names a setting that does not exist.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} is no file; give the config.json of a run")
    try:
        values = json.loads(path.read_text())
    except ValueError as error:  # not JSON, or not text
        raise ValueError(f"{path} is not JSON ({error}); give the config.json of a run") from error
    return parse_config(values, path)


def parse_config(values: Mapping[str, Any], source: str | Path) -> PretrainConfig:
    """Build a `PretrainConfig` from JSON content; settings that are missing get the paper's value.

    Args:
        values: as `write_config` writes them, or without groups, as earlier versions wrote them.
        source: file they were read from, for the message.

    Raises:
        ValueError: if they name a setting that does not exist, or a value is invalid.
    """
    kinds, group_of = groups_of_settings(), group_of_settings()
    found: dict[str, dict[str, Any]] = {group: {} for group in kinds}
    unknown, twice = [], []
    if not isinstance(values, Mapping) or not all(
        isinstance(value, Mapping) for name, value in values.items() if name in kinds
    ):
        raise ValueError(f"{source} holds no settings by name; give the config.json of a run")
    for name, value in values.items():
        if name in kinds:
            known = {item.name for item in fields(kinds[name])}
            unknown += [f"{name}.{key}" for key in value if key not in known]
            found[name].update(value)
        elif (renamed := RENAMED.get(name, name)) in group_of:
            group = group_of[renamed]
            if renamed in values.get(group, {}) or renamed in found[group]:
                twice.append(renamed)
            found[group][renamed] = value
        else:
            unknown.append(name)
    if unknown:
        raise ValueError(
            f"{source} holds settings this version does not know: {', '.join(sorted(unknown))}; "
            "remove them, or read the file with the version that wrote it"
        )
    if twice:
        raise ValueError(
            f"{source} holds {', '.join(twice)} twice, inside a group and outside or under an "
            "earlier name; leave one of them"
        )
    try:
        return PretrainConfig(**{group: kinds[group](**given) for group, given in found.items()})
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from error
