"""One split of a prepared folder: its rows, and how to read their voxels, masks and labels.

Both data sets, with and without reports, are this plus what an item of theirs holds.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from mg3d.data.form import PreparedForm
from mg3d.data.prepared import read_facts

__all__ = ["PreparedSplit", "fingerprint"]


# What a training reads of the table; the order of rows decides the order of patients.
READ = ("volume_id", "patient_id", "scan_id", "split", "volume", "findings", "impression")


class PreparedSplit:
    """The volumes of one split.

    A patient may have several volumes (reconstructions, scans, phases of the heart). `volumes_of`
    groups them, `first_volumes` has one a patient.

    Args:
        folder: written by data_prep; holds manifest.csv and the volumes.
        split: "train", "val" or "test". No patient is in two splits.
        with_masks: take only volumes that have masks.
        expected: the form that the reader was built for; what it leaves open is not compared.

    Raises:
        FileNotFoundError: at construction, not hours later, if a volume of the split is missing.
        ValueError: if the split is empty, or the data were prepared in another form.
    """

    def __init__(
        self,
        folder: Path,
        split: str,
        *,
        with_masks: bool = False,
        expected: PreparedForm | None = None,
    ):
        from mg3d.data.manifest import read_manifest

        self.folder, self.split = Path(folder), split
        self.manifest = read_manifest(self.folder)
        self.label_names, self.masks_mean = self.manifest.labels, self.manifest.masks_mean
        rows = self.manifest.rows
        self.rows = rows[rows["split"] == split].reset_index(drop=True)
        if not len(self.rows):
            counts = rows["split"].value_counts().to_dict()
            raise ValueError(
                f"{self.folder} has no volume in split '{split}' (it has {counts}); "
                "prepare the data with that split, or ask for one it has"
            )
        if with_masks:
            self.rows = self._with_masks()
        self._check_files("volume")
        self._check_files("masks")
        if expected is not None:
            first = tuple(self.load_volume(0).shape[1:])
            expected.check(self.folder, self.manifest.facts, first)
        self.patients = list(dict.fromkeys(self.rows["patient_id"]))
        groups = self.rows.groupby("patient_id", sort=False).indices
        self.volumes_of = [np.sort(groups[patient]) for patient in self.patients]

    def _with_masks(self) -> Any:
        """The rows that have masks."""
        rows = self.rows[self.rows["masks"] != ""].reset_index(drop=True)
        if not len(rows):
            raise ValueError(
                f"no volume of split '{self.split}' of {self.folder} has masks; take a split that "
                "has some, or do without them"
            )
        return rows

    def _check_files(self, column: str) -> None:
        named = [name for name in self.rows[column] if name]
        missing = [name for name in named if not (self.folder / name).is_file()]
        if missing:
            what = "volumes" if column == "volume" else "masks"
            raise FileNotFoundError(
                f"{len(missing)} of {len(named)} {what} of split '{self.split}' are not in "
                f"{self.folder}, first {missing[0]}; run data_prep again or drop these rows"
            )

    def load_volume(self, row: int) -> Float[Tensor, "1 H W D"]:
        """Voxels of one row of `rows`, 0 to 1 over the window they were prepared with."""
        from mg3d.data.manifest import read_voxels

        return read_voxels(self.folder / self.rows["volume"][row])[None]

    def load_mask(self, row: int, finding: str) -> Bool[Tensor, "H W D"]:
        """Where one finding of one row of `rows` is; nowhere if that volume has no masks.

        Args:
            row: of `rows`.
            finding: one of `masks_mean.names`.
        """
        from mg3d.data.masks import mask_of, read_masks

        path = self.rows["masks"][row]
        if not path:
            return torch.zeros(self.load_volume(row).shape[1:], dtype=torch.bool)
        return mask_of(read_masks(self.folder / path), finding, self.masks_mean)

    def labels_of(self, row: int) -> Float[Tensor, " C"]:
        """Labels of one row of `rows` by `label_names`; NaN where unknown."""
        values = self.rows.loc[row, list(self.label_names)].to_numpy(dtype=np.float32)
        return torch.from_numpy(values)

    def labels(self) -> Float[np.ndarray, "P C"]:
        """Labels of every patient's first volume by `label_names`; NaN where unknown."""
        return self.rows.loc[self.first_volumes, list(self.label_names)].to_numpy(dtype=np.float64)

    def mean_volume(self) -> Float[Tensor, "1 H W D"]:
        """Mean of every patient's first volume; all must have one shape."""
        total = torch.zeros_like(self.load_volume(0), dtype=torch.float64)
        for row in self.first_volumes:
            total += self.load_volume(row)
        return (total / len(self.first_volumes)).float()

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Size of a voxel along each axis, mm, as written with the split's first volume."""
        affine = np.array(read_facts(self.folder / self.rows["volume"][0])["affine"])
        height, width, depth = np.linalg.norm(affine[:3, :3], axis=0).round(4)
        return float(height), float(width), float(depth)

    @property
    def first_volumes(self) -> list[int]:
        """One row a patient: the first volume of each."""
        return [int(rows[0]) for rows in self.volumes_of]

    def __len__(self) -> int:
        """Number of volumes."""
        return len(self.rows)


def fingerprint(*splits: PreparedSplit) -> str:
    """Hash of the patients, reports and voxels of some splits: the same in a folder that was moved.

    Voxels by the hash that data_prep wrote into dataset.json; where there is none, not at all.
    """
    digest = hashlib.sha256()
    for split in splits:
        for column in READ:
            digest.update(json.dumps([column, *map(str, split.rows[column])]).encode())
    facts = splits[0].manifest.facts
    known = {name: facts.get(name) for name in ("voxels_sha256", "settings")}
    digest.update(json.dumps(known, sort_keys=True).encode())
    return digest.hexdigest()[:16]
