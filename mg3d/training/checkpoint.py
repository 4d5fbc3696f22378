"""Save and resume a run: weights and optimiser in safetensors, the rest in JSON.

A checkpoint is a folder. It is written under another name and then renamed, so that a run killed at
any moment leaves a complete checkpoint behind. No pickle is used. All random numbers of a run are
functions of the seed and the step, so no generator state is saved.
"""

import json
import os
import shutil
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
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
    *,
    data: str = "",
    held_out: float | None = None,
) -> None:
    """Write a checkpoint to `folder`; an existing one is replaced when the new one is complete.

    Args:
        folder: of the checkpoint.
        module: all trained parameters.
        optimiser: its moments are saved, its learning rate is not (it follows from the step).
        settings: JSON-serialisable; compared when the run is resumed.
        progress: of the run.
        data: fingerprint of the data; "" if it is not known.
        held_out: the number that checkpoints are compared by; None if they are not.

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
        state["optimiser_kind"] = type(optimiser).__name__
        if data:
            state["data"] = data
        if held_out is not None:
            state["held_out"] = held_out
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
    if folder.exists():
        # Without it the old one is the only whole checkpoint, left by a run killed right here.
        shutil.rmtree(old, ignore_errors=True)
        folder.rename(old)
    partial.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def find_checkpoint(folder: Path) -> Path | None:
    """The newest complete checkpoint, `folder` or the one that it was replacing; None without."""
    for candidate in (folder, folder.with_name(folder.name + ".old")):
        if (candidate / STATE).exists():
            return candidate
    return None


def remove_checkpoint(folder: Path) -> None:
    """Remove a run's checkpoints, as a run that starts again does."""
    for state in (folder, folder.with_name(folder.name + ".old")):
        shutil.rmtree(state, ignore_errors=True)


def load_checkpoint(
    folder: Path,
    module: nn.Module,
    optimiser: torch.optim.Optimizer | None,
    settings: Mapping[str, Any],
    *,
    free: Collection[str] = (),
    flatten: Flatten | None = None,
    data: str = "",
) -> Progress:
    """Load weights and moments from a checkpoint; return its progress.

    Args:
        folder: written by `save_checkpoint`.
        module: receives the weights.
        optimiser: receives the moments; None: they are not loaded.
        settings: of the run that is resumed.
        free: flat names of settings that may differ, because they do not change the numbers.
        flatten: turns stored settings into a flat mapping; None: by dotted name.
        data: fingerprint of the data of the run that is resumed; "": not compared.

    Raises:
        FileNotFoundError: if the folder holds no checkpoint.
        ValueError: if it was written with other settings, on other data, for another module or
            optimiser, or is damaged.
    """
    if not (folder / STATE).exists():
        raise FileNotFoundError(
            f"{folder} holds no checkpoint ({STATE} is missing); give a folder that a run wrote"
        )
    state = read_state(folder)
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
    if data and state.get("data", data) != data:
        raise ValueError(
            f"{folder} was trained on other data (patients, reports or voxels differ); continue "
            "with the data it began with, or start in another folder"
        )
    with _explained(folder):
        load_model(module, str(folder / MODEL))
        if optimiser is not None:
            _load_moments(folder, optimiser, state)
    return Progress(state["step"], state["seconds"], state.get("scaler", {}))


def read_state(folder: Path) -> dict[str, Any]:
    """What a checkpoint says of itself: step, seconds, settings.

    Raises:
        ValueError: if it is damaged.
    """
    try:
        state: dict[str, Any] = json.loads((folder / STATE).read_text("utf-8"))
    except ValueError as error:  # no JSON, or no text
        raise ValueError(_damaged(folder, error)) from error
    return state


@contextmanager
def _explained(folder: Path) -> Iterator[None]:
    """Say in one line what of a checkpoint cannot be put in place."""
    try:
        yield
    except (SafetensorError, FileNotFoundError) as error:
        raise ValueError(_damaged(folder, error)) from error
    except RuntimeError as error:  # of PyTorch: a line for every tensor
        raise ValueError(
            f"{folder} holds another module than the one to be trained "
            f"({_first_misfit(str(error))}); continue with the module it was saved from, or start "
            "in another folder"
        ) from error


def _first_misfit(said: str) -> str:
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return lines[min(1, len(lines) - 1)].rstrip(".")


def _damaged(folder: Path, error: Exception) -> str:
    return f"{folder} is damaged ({error}); start in another folder, or again with overwrite=True"


def _load_moments(folder: Path, optimiser: torch.optim.Optimizer, state: Mapping[str, Any]) -> None:
    kind = type(optimiser).__name__
    saved = state.get("optimiser_kind", kind)
    entries: dict[int, dict[str, Any]] = {}
    values = load_file(folder / OPTIMISER) | state.get("optimiser", {})
    for key, value in values.items():
        index, name = key.split(".", 1)
        entries.setdefault(int(index), {})[name] = value
    groups = optimiser.state_dict()["param_groups"]
    parameters = [p for group in optimiser.param_groups for p in group["params"]]
    if saved != kind or any(index >= len(parameters) for index in entries):
        raise ValueError(
            f"{folder} holds the state of a {saved} of {len(entries)} parameters, but the "
            f"optimiser is a {kind} of {len(parameters)}; continue with the optimiser it was "
            "saved from, or start in another folder"
        )
    optimiser.load_state_dict({"state": entries, "param_groups": groups})


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
