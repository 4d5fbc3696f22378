"""Save and continue a run: weights and optimiser in safetensors, the rest in JSON.

A checkpoint is a folder. It is written beside the old one and then moved into its place, so that a
run killed at any moment leaves a whole checkpoint behind. Nothing is ever unpickled. Everything
random in a run is a function of the seed and the step, so no generator has to be saved.
"""

import json
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from mg3d.config import PretrainConfig, flatten, parse_config

MODEL, OPTIMISER, STATE = "model.safetensors", "optimiser.safetensors", "state.json"


def save_checkpoint(
    folder: Path,
    module: nn.Module,
    optimiser: torch.optim.Optimizer,
    config: PretrainConfig,
    *,
    step: int,
    seconds: float,
) -> None:
    """Write a checkpoint to `folder`, replacing the one there only when it is complete.

    Args:
        folder: of this run's checkpoint.
        module: everything that learns.
        optimiser: its moments are saved, its learning rate is not (it follows from the step).
        config: written along, and compared when the run is continued.
        step: optimiser steps taken.
        seconds: of training so far.
    """
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    save_file({k: v.contiguous() for k, v in module.state_dict().items()}, partial / MODEL)
    moments = {
        f"{index}.{name}": value.contiguous()
        for index, entry in optimiser.state_dict()["state"].items()
        for name, value in entry.items()
    }
    save_file(moments, partial / OPTIMISER)
    state = {"step": step, "seconds": seconds, "config": asdict(config)}
    (partial / STATE).write_text(json.dumps(state, indent=2))

    old = folder.with_name(folder.name + ".old")
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        folder.rename(old)
    partial.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def find_checkpoint(folder: Path) -> Path | None:
    """The newest whole checkpoint of a run, or None: `folder`, or the one it was replacing."""
    for candidate in (folder, folder.with_name(folder.name + ".old")):
        if (candidate / STATE).exists():
            return candidate
    return None


def load_checkpoint(
    folder: Path,
    module: nn.Module,
    optimiser: torch.optim.Optimizer | None,
    config: PretrainConfig,
) -> dict[str, Any]:
    """Put a checkpoint's weights and moments in place; return its `step` and `seconds`.

    Raises:
        FileNotFoundError: if the folder holds no checkpoint.
        ValueError: if it was made with other settings.
    """
    if not (folder / STATE).exists():
        raise FileNotFoundError(
            f"{folder} holds no checkpoint ({STATE} is missing); give a folder that a run wrote"
        )
    state = json.loads((folder / STATE).read_text())
    _check_settings(parse_config(state["config"], folder / STATE), config, folder)
    module.load_state_dict(load_file(folder / MODEL))
    if optimiser is not None:
        entries: dict[int, dict[str, torch.Tensor]] = {}
        for key, value in load_file(folder / OPTIMISER).items():
            index, name = key.split(".", 1)
            entries.setdefault(int(index), {})[name] = value
        groups = optimiser.state_dict()["param_groups"]
        optimiser.load_state_dict({"state": entries, "param_groups": groups})
    return {"step": state["step"], "seconds": state["seconds"]}


# Settings that may change when a run is continued: they decide no number.
FREE_SETTINGS = {"workers", "save_every", "text_cache_mb", "activation_checkpointing"}


def _check_settings(made: PretrainConfig, config: PretrainConfig, folder: Path) -> None:
    saved, asked = flatten(made), flatten(config)
    differ = [name for name in asked if name not in FREE_SETTINGS and saved[name] != asked[name]]
    if differ:
        first = differ[0]
        raise ValueError(
            f"{folder} was made with other settings ({', '.join(differ)}; {first} was "
            f"{saved[first]}, now {asked[first]}); continue with the same settings, or start "
            "in another folder"
        )
