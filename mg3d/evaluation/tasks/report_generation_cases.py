"""Volumes with the reports that are to be written about them, as samples and batches."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.utils.data import Dataset

from mg3d.data.volume_dataset import VolumeDataset
from mg3d.evaluation.tasks.report_generation_vocabulary import Vocabulary
from mg3d.text.report import clean_text


@dataclass(frozen=True)
class ReportItem:
    """One volume and its report."""

    patient_id: str
    volume_id: str
    volume: Float[Tensor, "1 H W D"]
    ids: tuple[int, ...]  # start, pieces, end
    findings: Float[Tensor, " F"]  # 1 where the report states the finding; F = 18


@dataclass(frozen=True)
class ReportBatch:
    """Several volumes of one shape with their reports."""

    patient_id: tuple[str, ...]
    volume_id: tuple[str, ...]
    volume: Float[Tensor, "B 1 H W D"]
    ids: Int[Tensor, "B T"]  # padded
    length: Int[Tensor, " B"]  # ids that are no padding
    findings: Float[Tensor, "B F"]

    def __len__(self) -> int:
        """Number of volumes."""
        return len(self.volume_id)

    def to(self, device: torch.device | str) -> "ReportBatch":
        """The same batch with its tensors on `device`."""
        return replace(
            self,
            volume=self.volume.to(device),
            ids=self.ids.to(device),
            length=self.length.to(device),
            findings=self.findings.to(device),
        )


class ReportItems(Dataset[ReportItem]):
    """Items with reports of a table, which may have been dealt to other volumes.

    Args:
        volumes: of one split.
        reports: of each volume.
        findings: stated by each report, (N, F) of 0 and 1.
        vocabulary: of the decoder.
        max_tokens: longest report, start and end included.
    """

    def __init__(
        self,
        volumes: VolumeDataset,
        reports: Sequence[str],
        findings: Float[np.ndarray, "N F"],
        vocabulary: Vocabulary,
        max_tokens: int,
    ):
        self.volumes, self.reports, self.vocabulary = volumes, list(reports), vocabulary
        self.findings = torch.from_numpy(findings.astype(np.float32))
        self.ids = [tuple(vocabulary.encode(report, max_tokens)) for report in self.reports]

    def __len__(self) -> int:
        """Number of volumes."""
        return len(self.volumes)

    def __getitem__(self, number: int) -> ReportItem:
        """One volume and its report."""
        one = self.volumes[number]
        return ReportItem(
            one.patient_id, one.volume_id, one.volume, self.ids[number], self.findings[number]
        )

    def collate(self, items: Sequence[ReportItem]) -> ReportBatch:
        """Stack volumes, pad reports."""
        length = torch.tensor([len(item.ids) for item in items])
        ids = torch.full((len(items), int(length.max())), self.vocabulary.padding)
        for row, item in enumerate(items):
            ids[row, : len(item.ids)] = torch.tensor(item.ids)
        return ReportBatch(
            tuple(item.patient_id for item in items),
            tuple(item.volume_id for item in items),
            torch.stack([item.volume for item in items]),
            ids,
            length,
            torch.stack([item.findings for item in items]),
        )


def read_reports(volumes: VolumeDataset) -> list[str]:
    """The findings text of every volume, cleaned.

    Raises:
        ValueError: if one has none; names the file, the patient and the volume.
    """
    rows = volumes.rows
    reports = [clean_text(text) for text in rows["findings"]]
    empty = [number for number, text in enumerate(reports) if not text]
    if empty:
        first = empty[0]
        raise ValueError(
            f"{volumes.folder / 'manifest.csv'}: {len(empty)} of {len(reports)} volumes of split "
            f"'{volumes.split}' have no text in column findings, first {rows['volume_id'][first]} "
            f"of patient {rows['patient_id'][first]}; drop these rows, or take a data set with "
            "reports"
        )
    return reports
