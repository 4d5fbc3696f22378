"""Occlusion: replace one block of the volume at a time and measure how a finding's score changes.

The zero-shot score of the finding is computed again with each block replaced by that of the average
volume. Blocks at which the score drops support the finding. Works with any encoder; attention maps
are not used.

Source: Zeiler and Fergus 2014 (occlusion). They cover with grey; here the average volume is the
cover, so that a covered block still looks like a chest.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from mg3d.data.dataset import VolumeReportDataset
from mg3d.evaluation.zero_shot import zero_shot_scores
from mg3d.modes import evaluating
from mg3d.objectives.clip import CLIP
from mg3d.training.step import Pretraining


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
    model, head = pretraining.model, pretraining.find(CLIP)
    if head is None:
        raise ValueError(
            "zero-shot scores need a clip head, and this run was trained without; train with "
            "weight clip > 0"
        )
    device = next(model.parameters()).device
    # The first copy is the volume as it is.
    copies = torch.cat([volume[None], cover_blocks(volume, cover, block)])
    with evaluating(pretraining):
        unit = torch.cat(
            [
                head.volume_head(model.embed_volumes(part.to(device)))
                for part in copies.split(batch_size)
            ]
        )
        vectors = unit.float().cpu().numpy()
        scores = zero_shot_scores(model, head, vectors, findings=(finding,))[:, 0]
    drop = torch.from_numpy(scores[0] - scores[1:])
    return drop.view(*(size // block for size in volume.shape[1:])).float()


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
