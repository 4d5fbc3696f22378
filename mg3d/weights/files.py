"""Read a file of weights without running anything in it; say what is wrong with a bad one.

The format is told from the first bytes, not from the name. A `.safetensors` file holds nothing but
tensors. A file that `torch.save` wrote is a pickle, which can hold code: it is read with
`weights_only=True`, which refuses everything but plain data. What surrounds the weights (optimiser,
epoch, ...) is left out, by name and with its reason.
"""

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from mg3d.weights.pickles import read_pickle
from mg3d.weights.shards import INDEX, read_index, refuse_one_shard

# Entries that wrap the weights, the one to prefer first. A student is what was trained; a teacher
# or a moving average follows it.
WRAPPERS = (
    *("state_dict", "model_state_dict", "model_state", "model", "net", "network"),
    *("network_weights", "module", "weights", "student", "teacher", "ema"),
    *("ema_state_dict", "state_dict_ema", "model_ema", "ema_model"),
)


@dataclass(frozen=True)
class WeightFile:
    """What a file holds, by name."""

    path: Path
    tensors: dict[str, Tensor]
    left_out: dict[str, str]  # what is in the file and no weight -> why it was left out
    wrapper: str = ""  # entry (or entries, with dots) that the weights stood in


def read_weights(path: Path) -> WeightFile:
    """Read every tensor of a `.safetensors`, `.pt`, `.pth`, `.ckpt` or `.bin` file, on the CPU.

    Given the index of weights that are cut into several files (`model.safetensors.index.json`), it
    reads all of them.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it holds no weights, is cut off, is one of several files, or could only be
            read by running its code.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} is not a file; give the file that holds the weights")
    if path.name.endswith(INDEX):
        return _read_shards(path)
    refuse_one_shard(path)
    return _read_one(path)


def _read_one(path: Path) -> WeightFile:
    with path.open("rb") as file:
        head = file.read(1024)
    _refuse_what_is_no_weights(path, head)
    # A safetensors header's length may begin with the byte a pickle begins with; "{" follows it.
    safe = head[5:9] == b"\0\0\0{"
    if not safe and head.startswith((b"PK\x03\x04", b"\x80")):
        return _unwrap(path, read_pickle(path, head))
    return WeightFile(path, _read_safetensors(path, head), {})


def _read_shards(index: Path) -> WeightFile:
    """All tensors of the files that an index names, each from the file it is said to be in."""
    tensors: dict[str, Tensor] = {}
    left_out: dict[str, str] = {}
    for shard, expected in read_index(index).items():
        content = _read_one(shard)
        if missing := [name for name in expected if name not in content.tensors]:
            raise ValueError(
                f"{index} says that {shard.name} holds {len(expected)} tensors, and "
                f"{len(missing)} of them are not in it, first {missing[0]}; download both again"
            )
        tensors |= {name: content.tensors[name] for name in expected}
        not_listed = [name for name in content.tensors if name not in expected]
        left_out |= {f"{shard.name}: {name}": "not in the index" for name in not_listed}
        left_out |= {f"{shard.name}: {name}": why for name, why in content.left_out.items()}
    return WeightFile(index, tensors, left_out)


def _refuse_what_is_no_weights(path: Path, head: bytes) -> None:
    """A download that went wrong is the commonest bad checkpoint."""
    text = head.lstrip().lower()
    if not head:
        raise ValueError(f"{path} is empty (0 bytes), not a file of weights; download it again")
    if head.startswith(b"version https://git-lfs"):
        raise ValueError(
            f"{path} is a Git LFS pointer, {path.stat().st_size} bytes that only name the weights; "
            "run `git lfs pull` in its repository, or download the file itself"
        )
    if text.startswith((b"<!doctype", b"<html", b"<?xml", b"<head")):
        raise ValueError(
            f"{path} is a web page, not a file of weights: a link to a page was saved, or a login "
            "was asked for; download the file itself"
        )
    if text.startswith((b"{", b"[")):
        raise ValueError(
            f"{path} is text (JSON), not a file of weights; give the .safetensors or .pt file"
        )
    if head.startswith((b"\x1f\x8b", b"7z\xbc\xaf", b"Rar!")):
        raise ValueError(f"{path} is a compressed archive; unpack it and give the file inside")


def _read_safetensors(path: Path, head: bytes) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, ValueError) as error:
        raise ValueError(f"{path} {_why_no_safetensors(path, head)}") from error


def _why_no_safetensors(path: Path, head: bytes) -> str:
    """The end of the message: the file's size against what its own header promises."""
    size = path.stat().st_size
    length = struct.unpack("<Q", head[:8])[0] if len(head) >= 8 else 0
    if head[8:9] != b"{" or length > 100_000_000:
        return (
            "is neither a .safetensors file nor one that torch.save wrote; give a .safetensors, "
            ".pt, .pth, .ckpt or .bin file"
        )
    try:
        with path.open("rb") as file:
            header = json.loads(file.read(8 + length)[8:])
        promised = 8 + length + max(
            (entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"),
            default=0,
        )  # fmt: skip
    except (ValueError, KeyError, TypeError, IndexError):
        return f"is cut off or damaged: its header cannot be read ({size:,} bytes are there)"
    return (
        f"is cut off or damaged: its header promises {promised:,} bytes and {size:,} are there; "
        "download it again"
    )


def _unwrap(path: Path, content: Any) -> WeightFile:
    """Go down to the mapping that holds the tensors, naming all that is passed on the way."""
    left_out: dict[str, str] = {}
    trail: list[str] = []
    while True:
        if not isinstance(content, Mapping):
            raise ValueError(
                f"{path} holds a {type(content).__name__}, where a mapping from names to tensors "
                "was expected; save model.state_dict()"
            )
        chosen = next((name for name in WRAPPERS if _wraps(content.get(name))), None)
        for name, value in content.items():
            if name != chosen and not (chosen is None and _is_weight(name, value)):
                left_out[".".join([*trail, str(name)])] = _why_left_out(value, chosen)
        if chosen is None:
            break
        trail.append(chosen)
        content = content[chosen]
    tensors = {name: value.detach() for name, value in content.items() if _is_weight(name, value)}
    if not tensors:
        raise ValueError(
            f"{path} holds no tensor by name; its entries are {', '.join(map(str, content)) or '-'}"
            f", and weights were looked for in {', '.join(WRAPPERS)}; save model.state_dict()"
        )
    return WeightFile(path, tensors, left_out, ".".join(trail))


def _is_weight(name: Any, value: Any) -> bool:
    return isinstance(name, str) and isinstance(value, Tensor)


def _wraps(value: Any) -> bool:
    """Is this a mapping with tensors by name, or one that such a mapping stands in?"""
    if not isinstance(value, Mapping):
        return False
    return any(_is_weight(n, v) for n, v in value.items()) or any(
        _wraps(value.get(name)) for name in WRAPPERS
    )


def _why_left_out(value: Any, chosen: str | None) -> str:
    if isinstance(value, Tensor):
        return f"stands beside the weights in '{chosen}'" if chosen else "has no name"
    if chosen and _wraps(value):
        return f"another set of weights; those in '{chosen}' were taken"
    return f"no weights: {type(value).__name__}"
