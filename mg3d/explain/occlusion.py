"""Occlusion: replace one block of the volume at a time and measure how a score changes.

The score is computed again with each block replaced by that of the average volume. Blocks at which
it drops support it. Works with any encoder; attention maps are not used.

Source: Zeiler and Fergus 2014 (occlusion). They cover with grey; here the average volume is the
cover, so that a covered block still looks like a chest.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from mg3d.data.dataset import VolumeReportDataset
from mg3d.evaluation.metrics import Score, bootstrap
from mg3d.explain.targets import Target, zero_shot_targets
from mg3d.modes import evaluating
from mg3d.training.step import Pretraining

BODY_ABOVE = 0.05  # of the average volume, 0 to 1: -900 HU with the usual window, so lungs count


def cover_blocks(
    volume: Float[Tensor, "1 H W D"], cover: Float[Tensor, "1 H W D"], block: int
) -> Float[Tensor, "N 1 H W D"]:
    """One copy of the volume per block, with that block taken from `cover`; blocks in C order.

    Raises:
        ValueError: if the volume is not made of whole blocks.
    """
    shape = volume.shape[1:]
    if any(size % block for size in shape):
        raise ValueError(
            f"volume of shape {tuple(shape)} must be made of whole blocks of {block} voxels; "
            "choose a block that divides it"
        )
    grid = [size // block for size in shape]
    # Row n of the identity matrix marks block n; each entry is then enlarged to a block of voxels.
    covered = torch.eye(grid[0] * grid[1] * grid[2], dtype=torch.bool).view(-1, 1, *grid)
    for axis in (2, 3, 4):
        covered = covered.repeat_interleave(block, dim=axis)  # (N, 1, H, W, D) at the end
    return torch.where(covered.to(volume.device), cover, volume)


@torch.no_grad()
def occlusion(
    target: Target,
    volume: Float[Tensor, "1 H W D"],
    cover: Float[Tensor, "1 H W D"],
    *,
    block: int,
    batch_size: int = 48,
) -> Float[Tensor, "Q h w d"]:
    """Drop of each score per covered block; positive: the block supports the score.

    Args:
        target: gives Q scores, see `explain.targets`. Put its model in evaluation mode.
        volume: one patient, 0 to 1 over the HU window.
        cover: what blocks are replaced by, such as the mean training volume.
        block: edge of a block, voxels.
        batch_size: covered copies scored at a time.

    Raises:
        ValueError: if the volume is not made of whole blocks.
    """
    # The first copy is the volume as it is.
    copies = torch.cat([volume[None], cover_blocks(volume, cover, block)])
    scores = torch.cat([target(part).float() for part in copies.split(batch_size)])
    drop = (scores[0] - scores[1:]).T
    return drop.unflatten(1, tuple(size // block for size in volume.shape[1:]))


def explain_finding(
    pretraining: Pretraining,
    volume: Float[Tensor, "1 H W D"],
    finding: str,
    cover: Float[Tensor, "1 H W D"],
    *,
    block: int,
    batch_size: int = 48,
) -> Float[Tensor, "h w d"]:
    """Drop of a finding's zero-shot score per covered block; positive: the block supports it.

    Args:
        pretraining: with a CLIP head.
        volume: one patient, 0 to 1 over the HU window.
        finding: one of `CT_RATE_FINDINGS`.
        cover: what blocks are replaced by, such as the mean training volume.
        block: edge of a block, voxels.
        batch_size: covered copies encoded at a time.

    Raises:
        ValueError: if the model has no CLIP head.
    """
    device = next(pretraining.model.parameters()).device
    with evaluating(pretraining):
        target = zero_shot_targets(pretraining, (finding,))
        drops = occlusion(
            target, volume.to(device), cover.to(device), block=block, batch_size=batch_size
        )
    return drops[0].cpu()


def pick_patient(dataset: VolumeReportDataset, finding: str) -> int:
    """Row of the patient with the largest mask of `finding`; the first patient if none has it.

    Args:
        dataset: one split.
        finding: one of `CT_RATE_FINDINGS`.
    """
    known = finding in dataset.label_names
    rows = [row for row in dataset.first_volumes if known and dataset.rows[finding][row] == 1]
    sizes = {row: int(dataset.load_mask(row, finding).sum()) for row in rows}
    return max(sizes, key=lambda row: sizes[row], default=dataset.first_volumes[0])


def elsewhere(
    mask: Bool[Tensor, "H W D"], within: Bool[Tensor, "H W D"], *, tries: int = 200, seed: int = 0
) -> Bool[Tensor, "H W D"]:
    """A region of the same shape and size at another place: the control for covering a mask.

    Of random shifts (around the edges), the one that overlaps the mask least and leaves `within`
    least, both counted in voxels.

    Args:
        mask: of a finding.
        within: where the region may lie, such as the body.
        tries: number of random shifts.
        seed: of the shifts.
    """
    numbers = torch.Generator().manual_seed(seed)
    shifts = [
        tuple(int(torch.randint(size, (), generator=numbers)) for size in mask.shape)
        for _ in range(tries)
    ]
    moved = [mask.roll(shift, (0, 1, 2)) for shift in shifts]
    return min(moved, key=lambda region: int((region & mask).sum() + (region & ~within).sum()))


@dataclass(frozen=True)
class CoverDrops:
    """How much a finding's score drops when a region is covered; one number per patient."""

    own: Float[np.ndarray, " P"]  # the finding's mask
    elsewhere: Float[np.ndarray, " P"]  # a region of the same shape and size at another place

    def mean(self, region: str, *, seed: int = 0) -> Score:
        """Mean drop with its interval over patients; `region` is "own" or "elsewhere"."""
        drops = {"own": self.own, "elsewhere": self.elsewhere}[region]
        return bootstrap(lambda p: float(drops[p].mean()), len(drops), seed=seed)

    def difference(self, *, seed: int = 0) -> Score:
        """Mean of own minus elsewhere, patient by patient; above 0: the score uses the finding."""
        more = self.own - self.elsewhere
        return bootstrap(lambda p: float(more[p].mean()), len(more), seed=seed)


@torch.no_grad()
def cover_drops(
    pretraining: Pretraining,
    dataset: VolumeReportDataset,
    finding: str,
    cover: Float[Tensor, "1 H W D"],
    *,
    seed: int = 0,
) -> CoverDrops:
    """Drops of the zero-shot score over all patients who have the finding and a mask of it.

    Args:
        pretraining: with a CLIP head.
        dataset: held-out patients, with masks.
        finding: one of `CT_RATE_FINDINGS`.
        cover: what a region is replaced by, such as the mean training volume, 0 to 1; where it is
            more than outer air, other regions may lie.
        seed: of the other regions.
    """
    device = next(pretraining.model.parameters()).device
    drops = []
    with evaluating(pretraining):
        target = zero_shot_targets(pretraining, (finding,))
        for row in dataset.first_volumes:
            volume, mask = dataset.load_volume(row), dataset.load_mask(row, finding)
            if dataset.rows[finding][row] != 1 or not mask.any():
                continue
            other = elsewhere(mask, cover[0] > BODY_ABOVE, seed=seed + row)
            covered = [torch.where(region, cover, volume) for region in (mask, other)]
            scores = target(torch.stack([volume, *covered]).to(device))[:, 0].cpu()
            drops.append((scores[0] - scores[1:]).tolist())
    pairs = np.array(drops, dtype=np.float64).reshape(-1, 2)
    return CoverDrops(pairs[:, 0], pairs[:, 1])
