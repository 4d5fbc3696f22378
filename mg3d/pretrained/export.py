"""Our weights under the names of the released checkpoints, for code that reads those.

Source: released code; names in `mg3d.pretrained.released_names`.
"""

from torch import Tensor, nn

from mg3d.encoders import Encoder
from mg3d.encoders.swin.swin3d import Swin3DEncoder
from mg3d.model import MG3D
from mg3d.pretrained.released_names import official_name
from mg3d.training.step import Pretraining


def to_released(module: nn.Module) -> dict[str, Tensor]:
    """Official name -> tensor, flat, as the released checkpoints are; `load_pretrained` reads it.

    Args:
        module: a Swin encoder, an `MG3D` around one, or a `Pretraining`.

    Raises:
        TypeError: if it is none of these.
        ValueError: if a tensor has no counterpart in a released checkpoint.
    """
    starts: tuple[tuple[type, str], ...] = (
        (Pretraining, ""), (MG3D, "model."), (Encoder, "model.encoder.")
    )  # fmt: skip
    start = next((start for kind, start in starts if isinstance(module, kind)), None)
    if start is None:
        raise TypeError(
            f"an encoder, an MG3D or a Pretraining has official names, got {type(module).__name__}"
        )
    names = {name: official_name(start + name) for name in module.state_dict()}
    without_name = [name for name, official in names.items() if official is None]
    swin = any(isinstance(part, Swin3DEncoder) for part in module.modules())
    if without_name or not swin:
        raise ValueError(
            f"released checkpoints hold a Swin and the six objectives of the paper; "
            f"{len(without_name)} tensors have no counterpart in one, "
            f"first {without_name[:1]}; export a model with encoder='swin3d' "
            "and without the objective clip"
        )
    return {
        official: module.state_dict()[name].detach().clone()
        for name, official in names.items()
        if official is not None
    }
