"""Label-preserving augmentation: small changes of position, brightness, contrast and noise.

A small data set shown for many epochs is memorised; augmentation shows every volume differently in
each of them. The paper's released code has none (47,000 volumes need it less), so only the small
presets switch it on.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from mg3d.config import AugmentationSettings


def jitter_volume(
    volume: Float[Tensor, "1 H W D"], jitter: AugmentationSettings, generator: torch.Generator
) -> Float[Tensor, "1 H W D"]:
    """The volume, slightly moved and reshaded; what moves in at an edge repeats the edge.

    Args:
        volume: 0 to 1 over the HU window; so is the result.
        jitter: how much.
        generator: on the CPU.
    """
    if jitter.jitter_shift:
        for axis in (1, 2, 3):
            size = volume.shape[axis]
            drawn = torch.randint(
                -jitter.jitter_shift, jitter.jitter_shift + 1, (1,), generator=generator
            )
            index = (torch.arange(size) + int(drawn)).clamp(0, size - 1)
            volume = volume.index_select(axis, index)
    factor, offset = torch.randn(2, generator=generator)
    volume = volume * (1 + jitter.jitter_contrast * factor) + jitter.jitter_brightness * offset
    if jitter.jitter_noise:
        volume = volume + jitter.jitter_noise * torch.randn(volume.shape, generator=generator)
    return volume.clamp(0, 1)
