"""The patients of a prepared folder as PyTorch items: each volume with its report.

Everything that pre-trains or is evaluated on reports reads it. Data sets without reports are read
by `VolumeDataset`.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

from torch.utils.data import Dataset

from mg3d.data.batch import Patient
from mg3d.data.form import PreparedForm
from mg3d.data.split import PreparedSplit
from mg3d.text.limit import LeftOut, Parts, limit_report

__all__ = ["VolumeReportDataset"]


class VolumeReportDataset(PreparedSplit, Dataset[Patient]):
    """The volumes of one split of a prepared folder, each with its report.

    Never put two volumes of a patient in one batch: the contrastive objectives would tell them
    apart. `training.sampler` draws one a patient and epoch.

    Args:
        folder: written by data_prep; holds manifest.csv and the volumes.
        split: "train", "val" or "test". No patient is in two splits.
        tokenizer: that of the text encoder.
        max_tokens: longest report, in tokens.
        volume_shape: voxels the encoder expects.
        expected: the rest of the form the model expects (spacing, window); None: only the shape.
        report_cut: what is left out of a longer report, see `text.limit.limit_report`.
        text_encoder: name of the tokenizer's, for messages.

    Attributes:
        reports: tokens of every row.
        left_out: what of the reports did not fit, each scan's report counted once.

    Raises:
        FileNotFoundError: at construction, not hours later, if a volume of the split is missing.
        ValueError: if the split is empty, a volume has no report, or the data were prepared in
            another form than the model expects.
    """

    def __init__(
        self,
        folder: Path,
        split: str,
        tokenizer: Any,
        *,
        max_tokens: int,
        volume_shape: tuple[int, int, int],
        expected: PreparedForm | None = None,
        report_cut: str = "end",
        text_encoder: str = "the text encoder",
    ):
        height, width, depth = volume_shape
        form = replace(expected or PreparedForm(), shape=(height, width, depth))
        super().__init__(folder, split, expected=form)
        self.left_out = LeftOut(
            tokenizer=text_encoder, max_tokens=max_tokens, report_cut=report_cut
        )
        self.reports, scans = [], set()
        for row in self.rows.itertuples():
            parts = Parts.of(row.findings, row.impression)
            report, left_out = limit_report(tokenizer, parts, max_tokens, report_cut=report_cut)
            self.reports.append(report)
            if row.scan_id not in scans:  # all reconstructions of a scan share its report
                scans.add(row.scan_id)
                self.left_out += left_out
        wordless = [r for r, report in enumerate(self.reports) if not report.sentences]
        if len(wordless) == len(self.rows):
            raise ValueError(
                f"{self.folder} has no reports; read it with mg3d.VolumeDataset, or prepare a data "
                "set that has reports"
            )
        if wordless:
            first = self.rows["volume_id"][wordless[0]]
            raise ValueError(
                f"{len(wordless)} of {len(self.rows)} reports of split '{split}' have no text, "
                f"first {first}; prepare the data again: the importer "
                "refuses them by name"
            )

    def __getitem__(self, row: int) -> Patient:
        """One volume and its report."""
        return Patient(
            str(self.rows["patient_id"][row]),
            str(self.rows["volume_id"][row]),
            self.load_volume(row),
            self.reports[row],
        )
