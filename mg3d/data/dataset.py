"""The patients of a prepared folder as PyTorch items.

Everything that trains or is evaluated reads one prepared folder (`manifest.csv`).
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.utils.data import Dataset

from mg3d.data.batch import Patient
from mg3d.text.report import report_sentences
from mg3d.text.tokens import tokenize_report

__all__ = ["VolumeReportDataset"]


class VolumeReportDataset(Dataset[Patient]):
    """The volumes of one split of a prepared folder, each with its report.

    A patient may have several volumes (reconstructions, scans). Never put two of them in one batch:
    the contrastive objectives would tell them apart. `volumes_of` groups them, `first_volumes` has
    one a patient; `training.sampler` draws one a patient and epoch.

    Args:
        folder: written by data_prep; holds manifest.csv and the volumes.
        split: "train", "val" or "test". No patient is in two splits.
        tokenizer: that of the text encoder.
        max_tokens: longest report, in tokens.
        volume_shape: voxels the encoder expects.

    Raises:
        FileNotFoundError: at construction, not hours later, if a volume of the split is missing.
        ValueError: if the split is empty or its grid is not the encoder's.
    """

    def __init__(
        self,
        folder: Path,
        split: str,
        tokenizer: Any,
        *,
        max_tokens: int,
        volume_shape: tuple[int, int, int],
    ):
        from mg3d.data.manifest import read_manifest

        self.folder = Path(folder)
        manifest = read_manifest(self.folder)
        self.label_names, self.masks_mean = manifest.labels, manifest.masks_mean
        self.rows = manifest.rows[manifest.rows["split"] == split].reset_index(drop=True)
        if not len(self.rows):
            counts = manifest.rows["split"].value_counts().to_dict()
            raise ValueError(
                f"{self.folder} has no volume in split '{split}' (it has {counts}); "
                "prepare the data with that split, or ask for one it has"
            )
        self._check_files(split)
        self._check_grid(volume_shape)
        self.patients = list(dict.fromkeys(self.rows["patient_id"]))
        groups = self.rows.groupby("patient_id", sort=False).indices
        self.volumes_of = [np.sort(groups[patient]) for patient in self.patients]
        self.reports = [
            tokenize_report(tokenizer, report_sentences(row.findings, row.impression), max_tokens)
            for row in self.rows.itertuples()
        ]
        wordless = [r for r, report in enumerate(self.reports) if not report.sentences]
        if wordless:
            first = self.rows["volume_id"][wordless[0]]
            raise ValueError(
                f"{len(wordless)} of {len(self.rows)} reports of split '{split}' have no text, "
                f"first {first}; prepare the data again: the importer "
                "refuses them by name"
            )

    def _check_files(self, split: str) -> None:
        missing = [v for v in self.rows["volume"] if not (self.folder / v).is_file()]
        if missing:
            raise FileNotFoundError(
                f"{len(missing)} of {len(self.rows)} volumes of split '{split}' are not in "
                f"{self.folder}, first {missing[0]}; run data_prep again or drop these rows"
            )

    def _check_grid(self, volume_shape: tuple[int, int, int]) -> None:
        shape = tuple(self.load_volume(0).shape[1:])
        if shape != tuple(volume_shape):
            raise ValueError(
                f"the volumes of {self.folder} have shape {shape}, the model expects "
                f"{tuple(volume_shape)}; prepare the data with the same preset as the model"
            )

    def load_volume(self, row: int) -> Float[Tensor, "1 H W D"]:
        """Voxels of one row of `rows`, 0 to 1 over the HU window."""
        from mg3d.data.manifest import read_voxels

        return read_voxels(self.folder / self.rows["volume"][row])[None]

    def load_mask(self, row: int, finding: str) -> Bool[Tensor, "H W D"]:
        """Where one finding of one row of `rows` is; nowhere if the data set has no masks.

        Args:
            row: of `rows`.
            finding: one of `masks_mean.names`.
        """
        from mg3d.data.masks import mask_of, read_masks

        path = self.rows["masks"][row]
        if not path:
            return torch.zeros(self.load_volume(row).shape[1:], dtype=torch.bool)
        return mask_of(read_masks(self.folder / path), finding, self.masks_mean)

    def labels(self) -> Float[np.ndarray, "P C"]:
        """Labels of every patient's first volume by `label_names`; NaN where unknown."""
        return self.rows.loc[self.first_volumes, list(self.label_names)].to_numpy(dtype=np.float64)

    def mean_volume(self) -> Float[Tensor, "1 H W D"]:
        """Mean of every patient's first volume, 0 to 1 over the HU window."""
        total = torch.zeros_like(self.load_volume(0), dtype=torch.float64)
        for row in self.first_volumes:
            total += self.load_volume(row)
        return (total / len(self.first_volumes)).float()

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Size of a voxel along each axis, mm, as written with the split's first volume."""
        from mg3d.data.prepared import read_facts

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

    def __getitem__(self, row: int) -> Patient:
        """One volume and its report."""
        return Patient(
            str(self.rows["patient_id"][row]),
            str(self.rows["volume_id"][row]),
            self.load_volume(row),
            self.reports[row],
        )
