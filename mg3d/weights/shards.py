"""Weights cut into several files, and the index that says which tensor is in which.

Large checkpoints come as `model-00001-of-00004.safetensors` and so on, or `pytorch_model-...bin`,
with an index beside them. One such file alone is a part of a network that may look like a whole
small one, so it is refused.

Source: the format of `huggingface_hub.split_state_dict_into_shards_factory`.
"""

import json
import re
from pathlib import Path

INDEX = ".index.json"
_SHARD = re.compile(r".*?[-_.]?(?P<number>\d+)-of-(?P<count>\d+)\.\w+")


def read_index(index: Path) -> dict[Path, list[str]]:
    """The files that an index names, each with the names of its tensors.

    Raises:
        ValueError: if it is no index, names a file elsewhere, or a file is not there.
    """
    try:
        weight_map = json.loads(index.read_text())["weight_map"]
        pairs = [(str(name), str(file)) for name, file in weight_map.items()]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{index} is not an index of weights: a 'weight_map' from tensors to files was "
            "expected; download it again, or give the file of weights"
        ) from error
    shards: dict[Path, list[str]] = {}
    for name, file in pairs:
        if Path(file).name != file:
            raise ValueError(
                f"{index} names a file in another folder for tensor {name}; the files of one "
                "network lie beside their index"
            )
        shards.setdefault(index.parent / file, []).append(name)
    missing = [shard.name for shard in shards if not shard.is_file()]
    if missing or not shards:
        raise ValueError(
            f"{index} names {len(shards)} files of weights, and {len(missing)} are missing"
            f"{f', first {missing[0]}' if missing else ''}; download all of them"
        )
    return shards


def find_indexes(folder: Path) -> list[Path]:
    """Indexes in a folder, safetensors first."""
    return sorted(folder.glob(f"*{INDEX}"), key=lambda path: ("safetensors" not in path.name, path))


def refuse_one_shard(path: Path) -> None:
    """Refuse a file that is one of several, told by its name or by an index beside it.

    Raises:
        ValueError: if it is, with the way to give all of them.
    """
    for index in find_indexes(path.parent):
        if path in read_index(index):
            raise ValueError(
                f"{path} holds a part of the weights, as {index.name} beside it says; give that "
                "index, or the folder"
            )
    match = _SHARD.fullmatch(path.name)
    if match and int(match["count"]) > 1:
        raise ValueError(
            f"{path} is file {int(match['number'])} of {int(match['count'])}, so it holds a part "
            f"of the weights; give the index (model.safetensors{INDEX} or the like) that comes "
            "with them, or the folder with all of them"
        )
