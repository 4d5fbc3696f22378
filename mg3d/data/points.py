"""Cubes around the places that a table lists, such as LUNA16's nodule candidates.

The table lies beside the manifest: `volume_id`, `h`, `w`, `d` (voxels of the prepared array) and a
column to learn. Cubes are cut while training, from whole scans; none are stored.
"""

from pathlib import Path

import torch
from torch.utils.data import Dataset

from mg3d.data.crops import Triple
from mg3d.data.form import PreparedForm
from mg3d.data.volume_batch import VolumeItem
from mg3d.data.volume_dataset import VolumeDataset

__all__ = ["PointDataset"]

COLUMNS = ("volume_id", "h", "w", "d")


class PointDataset(Dataset[VolumeItem]):
    """One cube a row of a table, of the volumes of one split.

    Args:
        folder: written by data_prep; holds manifest.csv, the volumes and the table.
        split: "train", "val" or "test".
        crop: voxels of a cube; it is moved to stay inside its volume.
        table: name of the file.
        column: what is known about a place; the only label of an item.
        expected: as for `VolumeDataset`.

    Raises:
        FileNotFoundError: if the table, or a volume of the split, is missing.
        ValueError: if a column is missing, no place lies in the split, or one lies outside its
            volume; as for `VolumeDataset` besides.
    """

    def __init__(
        self,
        folder: Path,
        split: str,
        *,
        crop: Triple,
        table: str = "candidates.csv",
        column: str = "label",
        expected: PreparedForm | None = None,
    ):
        import pandas as pd

        self.volumes = VolumeDataset(folder, split, crop=crop, expected=expected)
        path = Path(folder) / table
        if not path.is_file():
            raise FileNotFoundError(
                f"{path} is missing; prepare the data again, or name one of its tables"
            )
        places = pd.read_csv(path, dtype={"volume_id": str})
        missing = [name for name in (*COLUMNS, column) if name not in places.columns]
        if missing:
            raise ValueError(
                f"{path} lacks the columns {', '.join(missing)}; it has {', '.join(places.columns)}"
            )
        row_of = {name: row for row, name in enumerate(self.volumes.rows["volume_id"])}
        self.places = places[places["volume_id"].isin(row_of)].reset_index(drop=True)
        if not len(self.places):
            raise ValueError(f"{path} lists no place of split '{split}'; take another split")
        self.rows = [row_of[name] for name in self.places["volume_id"]]
        self.labels = torch.tensor(self.places[column].to_numpy(), dtype=torch.float32)
        self._check_places(path)

    def _check_places(self, path: Path) -> None:
        """No place may lie outside its volume by more than rounding."""
        shape_of = {row: self.volumes.shape_of(row) for row in set(self.rows)}
        outside = [
            number
            for number, row in enumerate(self.rows)
            if any(
                not -1 <= place <= size
                for place, size in zip(self._place(number), shape_of[row], strict=True)
            )
        ]
        if outside:
            first = outside[0]
            raise ValueError(
                f"{path}: {len(outside)} of {len(self.rows)} places lie outside their volume, "
                f"first {self.places['volume_id'][first]} at {self._place(first)} of "
                f"{shape_of[self.rows[first]]} voxels; prepare the data again"
            )

    def _place(self, number: int) -> Triple:
        h, w, d = (round(float(self.places[axis][number])) for axis in "hwd")
        return h, w, d

    def __len__(self) -> int:
        """Number of places."""
        return len(self.rows)

    def __getitem__(self, number: int) -> VolumeItem:
        """The cube around one place; `labels` holds the table's column."""
        number = range(len(self))[number]  # IndexError ends a plain loop
        item = self.volumes.read_around(self.rows[number], self._place(number))
        return VolumeItem(
            item.patient_id,
            item.volume_id,
            item.volume,
            self.labels[number : number + 1],
            item.masks,
            item.start,
        )
