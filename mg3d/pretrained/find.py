"""What a path leads to: a folder saved for the hub, a training run, or another program's file."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mg3d.training.checkpoint import MODEL, STATE, find_checkpoint
from mg3d.weights.hub import CONFIG, MODEL_TYPE, SUFFIXES
from mg3d.weights.shards import INDEX, find_indexes

PARTS = ("encoder", "model", "pretraining")  # each is inside the next


@dataclass(frozen=True)
class Origin:
    """A file of weights, and what lies beside it that says how to build the module."""

    weights: Path
    layout: str
    held: str = ""  # one of PARTS; "" where names and shapes must tell
    config: Mapping[str, Any] | None = None  # content of config.json, or a run's settings


def find_weights(path: Path) -> Origin:
    """What `path` leads to.

    Args:
        path: a file, or a folder: of `save_pretrained`, of a run, of its checkpoint, or with one
            file of weights in it.

    Raises:
        FileNotFoundError: if a folder holds no weights.
        ValueError: if a folder holds several, and nothing says which.
    """
    if not path.is_dir():
        beside = path.name == MODEL and _beside(path.parent)
        return beside or Origin(path, "")
    run = find_checkpoint(path / "checkpoint")
    origin = _beside(path) or (_beside(run) if run else None)
    if origin:
        return origin
    files = sorted(item for item in path.iterdir() if item.suffix in SUFFIXES)
    whole = [item for item in files if item.name in (MODEL, "pytorch_model.bin")]
    choice = whole[:1] or find_indexes(path)[:1] or files
    if not choice:
        raise FileNotFoundError(
            f"{path} holds no weights: neither a run's checkpoint nor a {MODEL} nor any "
            f"{', '.join(SUFFIXES)} file; give the folder or file that does"
        )
    if len(choice) > 1:
        raise ValueError(
            f"{path} holds {len(files)} files of weights ({', '.join(f.name for f in files[:4])}"
            f"{', ...' if len(files) > 4 else ''}) and no index of them; give one of them, or add "
            f"the index ({MODEL}{INDEX}) if they are parts of one network"
        )
    return Origin(choice[0], "")


def _beside(folder: Path) -> Origin | None:
    """The origin of a folder that we wrote; None if we did not."""
    if (folder / STATE).is_file() and (folder / MODEL).is_file():
        state = _read(folder / STATE, ("step", "config"))
        layout = f"mg3d run, checkpoint of step {state['step']}"
        return Origin(folder / MODEL, layout, "pretraining", state["config"])
    if (folder / CONFIG).is_file() and (folder / MODEL).is_file():
        config = _read(folder / CONFIG)
        if config.get("model_type") == MODEL_TYPE:
            _check(folder / CONFIG, config, ("part",))
            if config["part"] not in PARTS:
                raise ValueError(
                    f"{folder / CONFIG} names the part {config['part']!r}, expected one of "
                    f"{', '.join(PARTS)}; save the model again"
                )
            needed = (
                ("encoder", "encoder_settings") if config["part"] == "encoder" else ("settings",)
            )
            _check(folder / CONFIG, config, needed)
            layout = f"mg3d {config.get('mg3d_version')}, save_pretrained"
            return Origin(folder / MODEL, layout, config["part"], config)
    return None


def _read(path: Path, needed: tuple[str, ...] = ()) -> dict[str, Any]:
    """A JSON file beside weights; {} where it holds no mapping and nothing is needed of it."""
    try:
        content = json.loads(path.read_text("utf-8"))
    except ValueError as error:  # not JSON, or not text
        raise ValueError(
            f"{path} is not JSON ({error}); copy it again, or give the file of weights alone in "
            "another folder"
        ) from error
    content = content if isinstance(content, dict) else {}
    _check(path, content, needed)
    return content


def _check(path: Path, content: Mapping[str, Any], needed: tuple[str, ...]) -> None:
    missing = [name for name in needed if name not in content]
    if missing:
        raise ValueError(
            f"{path} does not say {' and '.join(missing)}, which building the module needs; take "
            "the file that was saved with the weights"
        )
