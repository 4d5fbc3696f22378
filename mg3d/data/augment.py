"""Small changes that leave a patient who they are: position, brightness, contrast, noise.

A few thousand patients shown ten times are learned by heart; a volume that never comes twice the
same is not. The paper's released code changes nothing (47,000 volumes need it less), so this is off
but in the small presets.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Jitter:
    """How much a training volume is changed each time it is shown; all 0: not at all."""

    shift: int = 0  # voxels along each axis, at most, either way
    contrast: float = 0.0  # standard deviation of a factor around 1
    brightness: float = 0.0  # standard deviation of an offset; 1 is the whole HU window
    noise: float = 0.0  # standard deviation in every voxel; 1 is the whole HU window

    def __post_init__(self) -> None:
        if min(self.shift, self.contrast, self.brightness, self.noise) < 0:
            raise ValueError(f"a jitter is 0 or larger, got {self}; 0 leaves the volume as it is")

    @property
    def active(self) -> bool:
        """Whether it changes anything."""
        return any((self.shift, self.contrast, self.brightness, self.noise))


def jitter_volume(
    volume: Float[Tensor, "1 H W D"], jitter: Jitter, generator: torch.Generator
) -> Float[Tensor, "1 H W D"]:
    """The volume, slightly moved and reshaded; what moves in at an edge repeats the edge.

    Args:
        volume: 0 to 1 over the HU window; so is the result.
        jitter: how much.
        generator: on the CPU.
    """
    if jitter.shift:
        for axis in (1, 2, 3):
            size = volume.shape[axis]
            drawn = torch.randint(-jitter.shift, jitter.shift + 1, (1,), generator=generator)
            index = (torch.arange(size) + int(drawn)).clamp(0, size - 1)
            volume = volume.index_select(axis, index)
    factor, offset = torch.randn(2, generator=generator)
    volume = volume * (1 + jitter.contrast * factor) + jitter.brightness * offset
    if jitter.noise:
        volume = volume + jitter.noise * torch.randn(volume.shape, generator=generator)
    return volume.clamp(0, 1)
