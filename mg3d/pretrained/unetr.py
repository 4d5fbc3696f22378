"""The encoder handed over to MONAI's SwinUNETR, for segmentation.

Source: MG-3D (arXiv 2412.05876), segmentation; released downstream code: the encoder fills
`swinViT`, and the conv blocks beside it start fresh unless the checkpoint held them.
"""

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn

from mg3d.encoders import Encoder
from mg3d.encoders.swin.swin3d import Swin3DEncoder
from mg3d.pretrained.layouts import swin_settings
from mg3d.pretrained.load import Loaded


def to_swin_unetr(
    pretrained: Encoder | Loaded,
    out_channels: int,
    *,
    skip_blocks: Mapping[str, Tensor] | None = None,
    **options: Any,
) -> nn.Module:
    """MONAI's `SwinUNETR` whose transformer gives the encoder's five maps, number for number.

    Weights are copied. The decoder, and skip blocks the file did not hold, keep the fresh weights
    MONAI draws from torch's global generator.

    Args:
        pretrained: what `load_pretrained` returned, or a Swin encoder.
        out_channels: of the segmentation, background included.
        skip_blocks: by MONAI's names; None: those of `pretrained`, if it has any.
        options: more for `SwinUNETR`, such as `use_checkpoint`; not what the encoder decides.

    Raises:
        TypeError: if the encoder is no Swin, or an option is the encoder's to decide.
        ValueError: if a skip block does not fit.
    """
    from monai.networks.nets import SwinUNETR

    if isinstance(pretrained, Loaded):
        skip_blocks = pretrained.skip_blocks if skip_blocks is None else skip_blocks
        encoder: nn.Module = pretrained.encoder
    else:
        encoder = pretrained
    if not isinstance(encoder, Swin3DEncoder):
        raise TypeError(
            f"SwinUNETR is built around a Swin3DEncoder, got {type(encoder).__name__}; pre-train "
            "with encoder='swin3d', or put a decoder of your own on the encoder's maps"
        )
    state = encoder.transformer.state_dict()
    settings = swin_settings(state)
    unetr = SwinUNETR(
        in_channels=settings["input_channels"],
        out_channels=out_channels,
        feature_size=settings["embed_dim"],
        depths=settings["depths"],
        num_heads=settings["num_heads"],
        window_size=settings["window"],
        patch_size=settings["patch"],
        **options,
    )
    for stage in ("layers1", "layers2", "layers3", "layers4"):
        # MONAI's merging takes other neighbours than the released one, under the same names.
        merging = encoder.transformer.get_submodule(f"{stage}.0.downsample")
        unetr.swinViT.get_submodule(f"{stage}.0").downsample = deepcopy(merging)
    result = unetr.swinViT.load_state_dict(state, strict=False)
    not_computed = [n for n in result.missing_keys if not n.endswith("relative_position_index")]
    assert not result.unexpected_keys and not not_computed, result
    unetr_state = unetr.state_dict()
    for name, tensor in (skip_blocks or {}).items():
        if name not in unetr_state or unetr_state[name].shape != tensor.shape:
            expected = list(unetr_state[name].shape) if name in unetr_state else "no such tensor"
            raise ValueError(
                f"skip block {name} has shape {list(tensor.shape)}, SwinUNETR expects {expected}; "
                "it belongs to another network: pass skip_blocks={} to start them fresh"
            )
        with torch.no_grad():
            unetr_state[name].copy_(tensor)
    return unetr
