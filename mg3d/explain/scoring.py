"""How well does a map find a mask? Four numbers, none of which alone is enough.

The pointing game asks for one voxel, voxel AUROC for the order of all, energy for the share of the
map, IoU for the overlap when as many voxels are taken as the mask has. A map that knows nothing of
the patient can score well in each; what a score is worth is seen beside its controls.

Source: pointing game, Zhang et al. 2016 (arXiv 1608.00507).
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

MEASURES = ("pointing", "voxel_auroc", "energy", "iou")


@dataclass(frozen=True)
class MapScore:
    """Of one map and one mask; each 0 to 1."""

    pointing: float  # is the map's largest voxel inside? Ties share; chance: the mask's share
    voxel_auroc: float  # a voxel inside above a voxel outside; chance: 0.5
    energy: float  # share of the map's positive part that lies inside; chance: the mask's share
    iou: float  # overlap with the map's highest voxels, as many as the mask has


def score_map(heat: Float[np.ndarray, "H W D"], mask: Bool[np.ndarray, "H W D"]) -> MapScore:
    """Score a map on the voxel grid.

    Args:
        heat: larger means more important.
        mask: where the finding is.

    Raises:
        ValueError: if the mask is empty or full: no order of voxels is right or wrong then.
    """
    inside, values = mask.ravel(), heat.ravel().astype(np.float64)
    size = int(inside.sum())
    if not 0 < size < inside.size:
        raise ValueError(
            f"a mask with {size} of {inside.size} voxels marked cannot score a map; leave this "
            "patient out for this finding"
        )
    positive = np.clip(values, 0, None)
    total = positive.sum()
    # Voxels that tie for the last place of the taken ones are taken in part.
    last = np.partition(values, -size)[-size]
    above, tied = values > last, values == last
    share = (size - above.sum()) / tied.sum()
    overlap = (above & inside).sum() + share * (tied & inside).sum()
    return MapScore(
        pointing=float(inside[values == values.max()].mean()),
        voxel_auroc=_auroc(values, inside),
        energy=float(positive[inside].sum() / total) if total > 0 else 0.0,
        iou=float(overlap / (2 * size - overlap)),
    )


def _auroc(values: Float[np.ndarray, " N"], inside: Bool[np.ndarray, " N"]) -> float:
    """`metrics.auroc`; with few positives among many voxels, looking up their ranks is faster."""
    order, positive = np.sort(values), values[inside]
    sides = [np.searchsorted(order, positive, side) for side in ("left", "right")]
    ranks = (sides[0] + sides[1] + 1) / 2  # 1 is the lowest; ties share their mean rank
    size = len(positive)
    wins = ranks.sum() - size * (size + 1) / 2
    return float(wins / (size * (len(values) - size)))
