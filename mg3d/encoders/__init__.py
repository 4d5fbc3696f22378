"""From a volume to visual tokens."""

import inspect
from collections.abc import Callable
from typing import Any

from mg3d.encoders.maps import Encoder
from mg3d.encoders.swin.swin3d import Swin3DEncoder
from mg3d.encoders.unet3d import UNet3DEncoder

__all__ = ["ENCODERS", "Encoder", "build_encoder"]

# A name here is also in mg3d.config.settings.ENCODERS, so that a misspelt one is refused at once.
ENCODERS: dict[str, Callable[..., Encoder]] = {
    "swin3d": Swin3DEncoder,
    "unet3d": UNet3DEncoder,
}


def build_encoder(name: str, **settings: Any) -> Encoder:
    """The encoder called `name`, with its own keyword arguments.

    What comes back has `.width` (channels of the last map), `.stride` (total), and turns a volume
    (B, 1, H, W, D) into its maps, fine to coarse. Every encoder has the setting `checkpointing`:
    recompute activations in the backward pass instead of keeping them.

    Raises:
        ValueError: if there is no such encoder or it has no such setting; the message lists those
            there are.
    """
    if name not in ENCODERS:
        raise ValueError(f"encoder is one of {', '.join(ENCODERS)}; got '{name}'")
    known = inspect.signature(ENCODERS[name]).parameters
    if unknown := [setting for setting in settings if setting not in known]:
        raise ValueError(
            f"encoder_settings of {name} are {', '.join(known)}; got {', '.join(unknown)}; give "
            "another encoder its own settings"
        )
    encoder = ENCODERS[name](**settings)
    encoder.recipe = (name, settings)
    return encoder
