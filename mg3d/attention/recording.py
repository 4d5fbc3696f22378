"""Read the attention maps of a running model, so that a figure shows the tensor the model used."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from mg3d.attention.gated import GateMap
from mg3d.attention.softmax import SoftmaxMap


@contextmanager
def record_maps(model: nn.Module) -> Iterator[dict[str, Tensor]]:
    """Collect every attention map computed inside the block, by the name of its module.

    A module that runs again (the same fusion serves the whole and the masked volume) keeps its
    first map under its name, the next ones under "name:2", "name:3", ...

    Example:
        with record_maps(model) as maps:
            model(batch)
        maps["sentence_fusion.layers.0.volume.gates"].shape  # (B, N, K)
    """
    maps: dict[str, Tensor] = {}
    calls: dict[str, int] = {}

    def keep(name: str) -> Callable[[nn.Module, Any, Tensor], None]:
        def hook(_module: nn.Module, _inputs: Any, output: Tensor) -> None:
            calls[name] = calls.get(name, 0) + 1
            maps[name if calls[name] == 1 else f"{name}:{calls[name]}"] = output.detach()

        return hook

    handles = [
        module.register_forward_hook(keep(name))
        for name, module in model.named_modules()
        if isinstance(module, GateMap | SoftmaxMap)
    ]
    try:
        yield maps
    finally:
        for handle in handles:
            handle.remove()
