"""The volumes of a prepared folder as PyTorch items, with labels and masks where there are any.

For data sets without reports: classification and segmentation read it as pre-training reads
`VolumeReportDataset`. A volume that was prepared whole is too large to train on, so crops are cut
while training, and only their voxels are read.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from mg3d.data.crops import Triple, around, foreground_start, read_padded, uniform_start
from mg3d.data.form import PreparedForm
from mg3d.data.prepared import array_shape
from mg3d.data.split import PreparedSplit
from mg3d.data.volume_batch import VolumeItem

__all__ = ["VolumeDataset"]


class VolumeDataset(PreparedSplit, Dataset[VolumeItem]):
    """The volumes of one split, whole or as crops.

    `dataset[row]` is the same every time. `dataset[row, draw]` is another crop of the volume for
    every `draw`; a sampler that yields such pairs, with the number of the epoch as `draw`, shows
    new crops in each epoch and the same ones again when a run is repeated or resumed.

    Args:
        folder: written by data_prep; holds manifest.csv and the volumes.
        split: "train", "val" or "test". No patient is in two splits.
        crop: voxels of an item; a volume that is smaller is padded with 0, the low end of its
            window. None: whole volumes, whatever their shapes.
        foreground: share of crops that lie around a marked voxel, drawn among all marked ones of
            the volume, instead of anywhere.
        with_masks: take only volumes that have masks.
        seed: of the crops.
        expected: the form that the reader was built for; see `PreparedForm`.

    Raises:
        FileNotFoundError: if a volume, or masks, of the split are missing.
        ValueError: if the split is empty, the data were prepared in another form, a crop or share
            is impossible, or foreground is asked for where the data set has no masks.
    """

    def __init__(
        self,
        folder: Path,
        split: str,
        *,
        crop: Triple | None = None,
        foreground: float = 0.0,
        with_masks: bool = False,
        seed: int = 0,
        expected: PreparedForm | None = None,
    ):
        super().__init__(folder, split, with_masks=with_masks, expected=expected)
        if crop is not None and not _is_size(crop):
            raise ValueError(f"crop is three sizes of 1 voxel or more, whole numbers, got {crop}")
        if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
            raise ValueError(f"seed is a whole number of 0 or more, got {seed}")
        if not 0 <= foreground <= 1:
            raise ValueError(f"foreground is a share from 0 to 1, got {foreground}")
        if foreground and (crop is None or not self.masks_mean.kind):
            raise ValueError(
                f"foreground {foreground} needs a crop and a data set with masks; "
                f"got crop {crop} and masks of {', '.join(self.masks_mean.names) or 'nothing'}"
            )
        self.crop, self.foreground, self.seed = crop, foreground, seed

    def shape_of(self, row: int) -> Triple:
        """Voxels of one whole volume, from its header."""
        return array_shape(self.folder / self.rows["volume"][row], "volume")

    def read(self, row: int, start: Triple, crop: Triple) -> VolumeItem:
        """The part of one volume that begins at a voxel.

        Args:
            row: of `rows`.
            start: first voxel; negative where the part begins outside, which is 0 there.
            crop: size of the part, voxels.
        """
        from mg3d.data.manifest import to_unit

        volume = read_padded(self.folder / self.rows["volume"][row], start, crop, "volume")
        masks, path = None, self.rows["masks"][row]
        if path:
            self._check_masks(row)
            found = read_padded(self.folder / path, start, crop, "masks")
            masks = torch.from_numpy(found.astype(np.int32))
        return VolumeItem(
            str(self.rows["patient_id"][row]),
            str(self.rows["volume_id"][row]),
            to_unit(volume)[None],
            self.labels_of(row),
            masks,
            start,
        )

    def _check_masks(self, row: int) -> None:
        """Masks of another shape would be cut and padded as if they lay on the volume's grid."""
        volume, masks = self.shape_of(row), self.rows["masks"][row]
        shape = array_shape(self.folder / masks, "masks")
        if shape != volume:
            raise ValueError(
                f"{self.folder / masks} has masks of {shape} voxels, but volume "
                f"{self.rows['volume_id'][row]} has {volume}; prepare the data again"
            )

    def start_of(self, row: int, draw: int) -> Triple:
        """First voxel of one of the crops of a volume; a function of seed, row and draw."""
        shape = self.shape_of(row)
        if self.crop is None:
            return 0, 0, 0
        numbers = np.random.default_rng([self.seed, row, draw])
        wanted = numbers.random() < self.foreground
        if wanted and self.rows["masks"][row]:
            start = foreground_start(self.folder / self.rows["masks"][row], self.crop, numbers)
            if start is not None:
                return start
        return uniform_start(shape, self.crop, numbers)

    def read_around(self, row: int, centre: Triple) -> VolumeItem:
        """The crop around a voxel, such as a candidate of a table, moved to stay inside."""
        if self.crop is None:
            raise ValueError("read_around needs the size of a crop; give the data set one")
        shape = self.shape_of(row)
        if not all(0 <= place < size for place, size in zip(centre, shape, strict=True)):
            raise ValueError(
                f"volume {self.rows['volume_id'][row]} has {shape} voxels, and {tuple(centre)} is "
                "not one of them; give array indices (h, w, d), not mm or (x, y, z)"
            )
        return self.read(row, around(centre, shape, self.crop), self.crop)

    def __getitem__(self, index: int | tuple[int, int]) -> VolumeItem:
        """One volume, or a crop of it.

        Args:
            index: a row, or a row and the number of a draw.
        """
        row, draw = index if isinstance(index, tuple) else (index, 0)
        row = range(len(self))[row]  # IndexError ends a plain loop
        return self.read(row, self.start_of(row, draw), self.crop or self.shape_of(row))


def _is_size(crop: Any) -> bool:
    """Three whole numbers of 1 or more."""
    if not isinstance(crop, tuple | list) or len(crop) != 3:
        return False
    return all(isinstance(n, int) and not isinstance(n, bool) and n >= 1 for n in crop)
