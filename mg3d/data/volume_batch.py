"""Volumes without reports as one batch: voxels, labels, and masks where all of them have some."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float, Int, Int32
from torch import Tensor

__all__ = ["VolumeBatch", "VolumeItem", "collate_volumes"]


@dataclass(frozen=True)
class VolumeItem:
    """One volume, or a crop of it, and what is known about it."""

    patient_id: str
    volume_id: str
    volume: Float[Tensor, "1 H W D"]  # 0 and 1 are the ends of the window it was prepared with
    labels: Float[Tensor, " C"]  # NaN where unknown
    masks: Int32[Tensor, "H W D"] | None = None  # as `MaskMeaning` says; None: the volume has none
    start: tuple[int, int, int] = (0, 0, 0)  # of the crop in the volume, voxels; < 0 where padded


@dataclass(frozen=True)
class VolumeBatch:
    """Several volumes of one shape."""

    patient_id: tuple[str, ...]
    volume_id: tuple[str, ...]
    volume: Float[Tensor, "B 1 H W D"]
    labels: Float[Tensor, "B C"]  # NaN where unknown
    start: Int[Tensor, "B 3"]
    masks: Int32[Tensor, "B H W D"] | None = None

    def __len__(self) -> int:
        """Number of volumes."""
        return len(self.volume_id)

    def to(self, device: torch.device | str) -> "VolumeBatch":
        """The same batch with its tensors on `device`."""
        tensors = {name: v for name, v in vars(self).items() if isinstance(v, Tensor)}
        moved: dict[str, Any] = {name: tensor.to(device) for name, tensor in tensors.items()}
        return replace(self, **moved)


def collate_volumes(items: Sequence[VolumeItem]) -> VolumeBatch:
    """Stack volumes of one shape.

    Raises:
        ValueError: if shapes differ, or only some of the volumes have masks.
    """
    odd = next((item for item in items if item.volume.shape != items[0].volume.shape), None)
    if odd is not None:
        raise ValueError(
            f"volumes {items[0].volume_id} and {odd.volume_id} have shapes "
            f"{tuple(items[0].volume.shape[1:])} and {tuple(odd.volume.shape[1:])}; a batch needs "
            "one shape: give the data set a crop, or a batch size of 1"
        )
    masks = [item.masks for item in items if item.masks is not None]
    if masks and len(masks) < len(items):
        without = next(item.volume_id for item in items if item.masks is None)
        raise ValueError(
            f"volume {without} has no masks, but others of its batch do; take only volumes with "
            "masks (`VolumeDataset(..., with_masks=True)`)"
        )
    return VolumeBatch(
        patient_id=tuple(item.patient_id for item in items),
        volume_id=tuple(item.volume_id for item in items),
        volume=torch.stack([item.volume for item in items]),
        labels=torch.stack([item.labels for item in items]),
        start=torch.tensor([item.start for item in items]),
        masks=torch.stack(masks) if masks else None,
    )
