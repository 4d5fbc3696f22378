"""Refuse to compute by hand what somebody hooked, wrapped or exchanged.

A forward hook on `attn.qkv`, or a LoRA layer in its place, does nothing when the layer's weight is
read and the layer never called. Better an error than an experiment without its change.
"""

from torch import nn

from mg3d.encoders.swin.mlp import MLP
from mg3d.encoders.swin.window_attention import WindowAttention

# What is computed by hand, by its name in a block. `attn.proj` is called as a module.
LAYERS: dict[str, type[nn.Module]] = {
    "norm1": nn.LayerNorm,
    "attn": WindowAttention,
    "attn.qkv": nn.Linear,
    "attn.softmax": nn.Softmax,
    "norm2": nn.LayerNorm,
    "mlp": MLP,
    "mlp.linear1": nn.Linear,
    "mlp.act": nn.GELU,
    "mlp.linear2": nn.Linear,
}


def refuse_what_would_be_skipped(block: nn.Module) -> None:
    """Look at every layer of a block that is computed by hand.

    Raises:
        ValueError: if one has a hook, is of another class (LoRA, weight normalisation,
            quantisation, another activation), or has a `forward` of its own.
    """
    for name, kind in LAYERS.items():
        layer = block.get_submodule(name)
        hooks = (
            *(layer._forward_hooks, layer._forward_pre_hooks),
            *(layer._backward_hooks, layer._backward_pre_hooks),
        )
        if type(layer) is not kind:
            _refuse(name, f"is a {type(layer).__name__} instead of a {kind.__name__}")
        if any(hooks):
            _refuse(name, "has a hook")
        if "forward" in vars(layer):
            _refuse(name, "has a forward of its own")


def _refuse(name: str, trouble: str) -> None:
    raise ValueError(
        f"window_recompute computes '{name}' by hand, but it {trouble}, which would be skipped; "
        "set encoder.window_recompute = False (or window_recompute=False in the settings): every "
        "layer is then called as a module, with the same numbers and more memory"
    )
