"""Trivial segmentations, fitted on the training cases: what a network has to beat.

all background      nothing is marked
all foreground      everything is the one structure            (one structure)
best threshold      every voxel above the grey value whose mean Dice in training is highest (one)
mean mask           where the training masks lie on average, in coordinates relative to the volume
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, UInt8
from torch import Tensor

GRID = 24  # voxels of an axis of the mean mask
LEVELS = 50  # grey values that are tried
BACKGROUND, FOREGROUND = "trivial: all background", "trivial: all foreground"
THRESHOLD, MEAN_MASK = "trivial: best threshold", "trivial: mean mask"


@dataclass(frozen=True)
class TrivialSegmentation:
    """What the baselines know of the training cases; JSON values.

    Attributes:
        structures: how many.
        threshold: grey value, 0 to 1; None where there are several structures.
        atlas: label map of `GRID` voxels an axis, one digit or letter a voxel.
    """

    structures: int
    threshold: float | None
    atlas: str

    @classmethod
    def fit(
        cls, cases: Iterable[tuple[Float[Tensor, "H W D"], Int[Tensor, "H W D"]]], structures: int
    ) -> "TrivialSegmentation":
        """Fit on volumes (0 to 1) and class maps of any shapes."""
        levels = (np.arange(LEVELS) + 0.5) / LEVELS
        dices, means = [], []
        for volume, classes in cases:
            if structures == 1 and (classes == 1).any():
                dices.append(_dice_of_levels(volume, classes == 1, levels))
            one_hot = F.one_hot(classes.long(), structures + 1).movedim(-1, 0).float()
            means.append(F.adaptive_avg_pool3d(one_hot[None], GRID)[0])
        threshold = float(levels[np.mean(dices, axis=0).argmax()]) if dices else None
        labels = _best_atlas(torch.stack(means), structures)
        atlas = "".join(chr(ord("0") + int(value)) for value in labels.flatten())
        return cls(structures, threshold, atlas)

    @classmethod
    def known(cls, facts: Mapping[str, Any]) -> "TrivialSegmentation":
        """As it was stored."""
        return cls(facts["structures"], facts["threshold"], facts["atlas"])

    def predict(self, volume: Float[Tensor, "H W D"]) -> dict[str, UInt8[Tensor, "H W D"]]:
        """Label map of a volume by every baseline."""
        atlas = torch.tensor([float(ord(letter) - ord("0")) for letter in self.atlas])
        cube = atlas.reshape(1, 1, GRID, GRID, GRID)
        found = {
            BACKGROUND: torch.zeros(volume.shape),
            MEAN_MASK: F.interpolate(cube, volume.shape, mode="nearest-exact")[0, 0],
        }
        if self.structures == 1:
            found[FOREGROUND] = torch.ones(volume.shape)
        if self.threshold is not None:
            found[THRESHOLD] = (volume > self.threshold).float()
        return {name: labels.to(torch.uint8) for name, labels in found.items()}


def _dice_of_levels(
    volume: Float[Tensor, "H W D"], marked: Tensor, levels: np.ndarray
) -> Float[np.ndarray, " L"]:
    """Dice of `volume > level` for every level."""
    edges = [-np.inf, *levels, np.inf]
    every, _ = np.histogram(volume.numpy(), edges)
    right, _ = np.histogram(volume[marked].numpy(), edges)
    above, hits = (counts[::-1].cumsum()[::-1][1:] for counts in (every, right))
    return 2 * hits / (above + right.sum())


def _best_atlas(cases: Float[Tensor, "N k g g g"], structures: int) -> Int[Tensor, "g g g"]:
    """The mean masks cut where their mean Dice with the training masks is highest."""
    mean = cases.mean(0)
    atlas = torch.zeros(mean.shape[1:], dtype=torch.long)
    claimed = torch.zeros(mean.shape[1:])
    for number in range(1, structures + 1):
        share = mean[number]
        cuts = share[share > 0].unique()
        cuts = cuts[torch.linspace(0, len(cuts) - 1, min(LEVELS, len(cuts))).long()]
        best = max(cuts.tolist(), key=lambda cut: _dice(cases[:, number], share >= cut), default=2)
        here = (share >= best) & (share > claimed)
        atlas[here], claimed[here] = number, share[here]
    return atlas


def _dice(cases: Float[Tensor, "N g g g"], atlas: Tensor) -> float:
    """Mean Dice of one mask with masks given as shares of voxels."""
    there = cases.sum((1, 2, 3))
    dice = 2 * (cases * atlas).sum((1, 2, 3)) / (there + atlas.sum())
    return float(dice[there > 0].mean()) if (there > 0).any() else 0.0
