"""The masks of a prepared volume: a bit field or a class map, and what its numbers say."""

from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Bool, Int32
from torch import Tensor

from mg3d.data.prepared import read_array

MASK_KINDS = ("", "bits", "classes")


@dataclass(frozen=True)
class MaskMeaning:
    """What the numbers of a data set's masks say.

    Attributes:
        kind: "bits": bit k is set where `names[k]` is, so that several may share a voxel;
            "classes": 0 is background, k + 1 is `names[k]`; "": the data set has no masks.
        names: of what is marked.
    """

    kind: str = ""
    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.kind not in MASK_KINDS or bool(self.kind) != bool(self.names):
            raise ValueError(
                "masks are 'bits' or 'classes' and have names, or are '' and have none; "
                f"got '{self.kind}' and {len(self.names)} names"
            )
        most = 31 if self.kind == "bits" else 255
        if len(self.names) > most:
            raise ValueError(f"{self.kind} have up to {most} names, got {len(self.names)}")


def read_masks(path: Path) -> Int32[Tensor, "H W D"]:
    """Read the masks of one prepared volume: a bit field or a class map, see `MaskMeaning`."""
    return torch.from_numpy(read_array(Path(path), "masks")).int()


def mask_of(masks: Int32[Tensor, "H W D"], name: str, mean: MaskMeaning) -> Bool[Tensor, "H W D"]:
    """Where one of the things that masks mark is.

    Args:
        masks: from `read_masks`.
        name: of it, one of `mean.names`.
        mean: `Manifest.masks_mean`.

    Raises:
        ValueError: if the masks do not know it.
    """
    if name not in mean.names:
        raise ValueError(
            f"the masks of this data set mark {', '.join(mean.names) or 'nothing'}, "
            f"not '{name}'; ask for one of them"
        )
    place = mean.names.index(name)
    return masks == place + 1 if mean.kind == "classes" else (masks >> place) & 1 == 1
