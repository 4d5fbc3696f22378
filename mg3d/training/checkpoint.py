"""Save and continue a run: weights and optimiser in safetensors, the rest in JSON.

A checkpoint is a folder. It is written beside the old one and then moved into its place, so that a
run killed at any moment leaves a whole checkpoint behind. Nothing is ever unpickled. Everything
random in a run is a function of the seed and the step, so no generator has to be saved.
"""

import json
import os
import shutil
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, load_model, save_file, save_model
from torch import nn

Flatten = Callable[[Mapping[str, Any]], Mapping[str, Any]]

MODEL, OPTIMISER, STATE = "model.safetensors", "optimiser.safetensors", "state.json"


@dataclass(frozen=True)
class Progress:
    """How far a run has come."""

    step: int  # steps done
    seconds: float  # of training
    scaler: Mapping[str, Any] = field(default_factory=dict)  # of fp16's loss scale


def save_checkpoint(
    folder: Path,
    module: nn.Module,
    optimiser: torch.optim.Optimizer,
    settings: Mapping[str, Any],
    progress: Progress,
) -> None:
    """Write a checkpoint to `folder`, replacing the one there only when it is complete.

    Args:
        folder: of this run's checkpoint.
        module: everything that learns.
        optimiser: its moments are saved, its learning rate is not (it follows from the step).
        settings: as JSON holds them; compared when the run is continued.
        progress: of the run.

    Raises:
        OSError: if it cannot be written, as on a full disk; the old one is left as it was.
        safetensors.SafetensorError: likewise.
    """
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir(parents=True)
        save_model(module, str(partial / MODEL))  # tied weights once
        tensors, numbers = _moments(optimiser)
        save_file(tensors, partial / OPTIMISER)
        state = {"step": progress.step, "seconds": progress.seconds, "config": settings}
        if progress.scaler:
            state["scaler"] = progress.scaler
        if numbers:
            state["optimiser"] = numbers
        (partial / STATE).write_text(json.dumps(state, indent=2))
        for file in partial.iterdir():
            _flush(file)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise

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
    settings: Mapping[str, Any],
    *,
    free: Collection[str] = (),
    flatten: Flatten | None = None,
) -> Progress:
    """Put a checkpoint's weights and moments in place; return how far it had come.

    Args:
        folder: that `save_checkpoint` wrote.
        module: gets the weights.
        optimiser: gets the moments; None to leave them.
        settings: of the run that goes on.
        free: settings that may differ, by flat name, because they decide no number.
        flatten: stored settings as one flat mapping; None: by dotted name.

    Raises:
        FileNotFoundError: if the folder holds no checkpoint.
        ValueError: if it was made with other settings.
    """
    if not (folder / STATE).exists():
        raise FileNotFoundError(
            f"{folder} holds no checkpoint ({STATE} is missing); give a folder that a run wrote"
        )
    state = json.loads((folder / STATE).read_text())
    flatten = flatten or dotted
    before, after = flatten(state["config"]), flatten(json.loads(json.dumps(settings)))
    differ = [k for k in {**after, **before} if k not in free and before.get(k) != after.get(k)]
    if differ:
        first = differ[0]
        raise ValueError(
            f"{folder} was made with other settings ({', '.join(differ)}; {first} was "
            f"{before.get(first)}, now {after.get(first)}); continue with the same settings, or "
            "start in another folder"
        )
    load_model(module, str(folder / MODEL))
    if optimiser is not None:
        entries: dict[int, dict[str, Any]] = {}
        values = load_file(folder / OPTIMISER) | state.get("optimiser", {})
        for key, value in values.items():
            index, name = key.split(".", 1)
            entries.setdefault(int(index), {})[name] = value
        groups = optimiser.state_dict()["param_groups"]
        optimiser.load_state_dict({"state": entries, "param_groups": groups})
    return Progress(state["step"], state["seconds"], state.get("scaler", {}))


def _moments(optimiser: torch.optim.Optimizer) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """The optimiser's state by parameter and name: tensors, and what is none (numbers, None)."""
    values = {
        f"{index}.{name}": value
        for index, entry in optimiser.state_dict()["state"].items()
        for name, value in entry.items()
    }
    tensors = {key: v.contiguous() for key, v in values.items() if isinstance(v, torch.Tensor)}
    return tensors, {key: v for key, v in values.items() if key not in tensors}


def _flush(file: Path) -> None:
    """Have the file on the disk, not on its way there; a full network disk says so only here."""
    with file.open("rb+") as opened:
        os.fsync(opened.fileno())


def dotted(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings by dotted name, as the command line calls them."""
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        if isinstance(value, Mapping):
            flat |= dotted(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value
    return flat
