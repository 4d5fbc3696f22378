"""Parts of a checkpoint's keys that wrappers put there, at any depth, and the keys without them.

A compiled, parallel or sharded module is the same module; only its keys are longer, as in
`model._orig_mod.swinViT.module.patch_embed.proj.weight`. No decision about a checkpoint may depend
on them.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from torch import Tensor

INSERTED = frozenset(
    {
        "_orig_mod",  # torch.compile
        "module",  # DataParallel, DistributedDataParallel, AveragedModel
        "_fsdp_wrapped_module",  # FullyShardedDataParallel
        "_checkpoint_wrapped_module",  # activation checkpointing beside it
        "_forward_module",  # Lightning Fabric
    }
)


def unwrap(checkpoint_key: str) -> str:
    """The key without the parts that wrappers put into it."""
    return ".".join(part for part in checkpoint_key.split(".") if part not in INSERTED)


def refuse_two_versions(tensors: Mapping[str, Tensor], wanted: Iterable[str], path: Path) -> None:
    """Refuse a file with two different tensors for the same layer, one of them under a wrapper.

    Args:
        tensors: of the file.
        wanted: keys that matter; the same keys with and without wrappers among them.
        path: for the message.

    Raises:
        ValueError: if there are two, naming both.
    """
    first: dict[str, str] = {}
    for key in wanted:
        other = first.setdefault(unwrap(key), key)
        if other == key:
            continue
        one, two = tensors[other], tensors[key]
        if one.shape != two.shape or not torch.equal(one, two.to(one.dtype)):
            raise ValueError(
                f"{path} holds two different tensors for one layer, '{other}' and '{key}', as a "
                "model and its running average have; write the one to be used to a file of its own"
            )
