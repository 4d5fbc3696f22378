"""Save and resume a run: weights and optimiser in safetensors, the rest in JSON.

A checkpoint is a folder. It is written under another name and then renamed, so that a run killed at
any moment leaves a complete checkpoint behind. No pickle is used. All random numbers of a run are
functions of the seed and the step, so no generator state is saved.
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
    scaler: Mapping[str, Any] = field(default_factory=dict)  # state of fp16's gradient scaler


def save_checkpoint(
    folder: Path,
    module: nn.Module,
    optimiser: torch.optim.Optimizer,
    settings: Mapping[str, Any],
    progress: Progress,
) -> None:
    """Write a checkpoint to `folder`; an existing one is replaced when the new one is complete.

    Args:
        folder: of the checkpoint.
        module: all trained parameters.
        optimiser: its moments are saved, its learning rate is not (it follows from the step).
        settings: JSON-serialisable; compared when the run is resumed.
        progress: of the run.

    Raises:
        OSError: if it cannot be written, as on a full disk; an existing checkpoint is kept.
        safetensors.SafetensorError: the same, raised by safetensors.
    """
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir(parents=True)
        save_model(module, str(partial / MODEL))  # stores tied weights once
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

    # Two renames: if the run is killed between them, `find_checkpoint` finds the `.old` folder.
    old = folder.with_name(folder.name + ".old")
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        folder.rename(old)
    partial.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def find_checkpoint(folder: Path) -> Path | None:
    """The newest complete checkpoint, `folder` or the one that it was replacing; None without."""
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
    """Load weights and moments from a checkpoint; return its progress.

    Args:
        folder: written by `save_checkpoint`.
        module: receives the weights.
        optimiser: receives the moments; None: they are not loaded.
        settings: of the run that is resumed.
        free: flat names of settings that may differ, because they do not change the numbers.
        flatten: turns stored settings into a flat mapping; None: by dotted name.

    Raises:
        FileNotFoundError: if the folder holds no checkpoint.
        ValueError: if it was written with other settings.
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
    """The optimiser's state by "index.name": tensors, and values that are not tensors."""
    values = {
        f"{index}.{name}": value
        for index, entry in optimiser.state_dict()["state"].items()
        for name, value in entry.items()
    }
    tensors = {key: v.contiguous() for key, v in values.items() if isinstance(v, torch.Tensor)}
    return tensors, {key: v for key, v in values.items() if key not in tensors}


def _flush(file: Path) -> None:
    """Force the file to disk; a full network disk reports the error only then."""
    with file.open("rb+") as opened:
        os.fsync(opened.fileno())


def dotted(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings by dotted name, such as `optimisation.batch_size`."""
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        if isinstance(value, Mapping):
            flat |= dotted(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value
    return flat
