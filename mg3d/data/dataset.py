"""Patients as PyTorch items, and many of them as one batch.

Everything that trains or is evaluated reads one prepared folder (`manifest.csv`). A volume comes as
0 to 1 over the HU window, a report as tokens that know their sentence and their whole word. What is
hidden from the model is drawn in `Batch.hide`, and nowhere else.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.utils.data import Dataset

from mg3d.data.augment import Jitter, jitter_volume
from mg3d.data.masking import hide_blocks, hide_words
from mg3d.text.report import report_sentences
from mg3d.text.tokens import TokenizedReport, tokenize_report

__all__ = ["Batch", "Patient", "VolumeReportDataset", "collate"]


@dataclass(frozen=True)
class Patient:
    """What the model learns from: one CT volume and the report a radiologist wrote about it."""

    patient_id: str
    volume_id: str
    volume: Float[Tensor, "1 H W D"]  # 0 and 1 are the ends of the HU window
    report: TokenizedReport


@dataclass(frozen=True)
class Batch:
    """Several patients, stacked and padded. Index K runs over the sentences of one report."""

    patient_id: tuple[str, ...]
    volume: Float[Tensor, "B 1 H W D"]  # 0 to 1 over the HU window
    tokens: Int[Tensor, "B T"]
    padding: Bool[Tensor, "B T"]  # True where a token stands for nothing
    sentence: Int[Tensor, "B T"]  # 0 to K - 1; -1 for [CLS], [SEP] and padding
    word: Int[Tensor, "B T"]  # which whole word a token belongs to; -1 likewise
    sentences: tuple[tuple[str, ...], ...]
    sentence_padding: Bool[Tensor, "B K"]  # True where a report has no such sentence
    voxel_mask: Bool[Tensor, "B 1 H W D"] | None = None  # True = hidden from the model
    word_mask: Bool[Tensor, "B T"] | None = None  # True = hidden, to be predicted
    hidden_tokens: Int[Tensor, "B T"] | None = None  # tokens, the hidden ones replaced

    def __len__(self) -> int:
        """Number of patients."""
        return len(self.patient_id)

    def to(self, device: torch.device | str) -> "Batch":
        """The same batch with its tensors on `device`."""
        moved: dict[str, Any] = {k: v.to(device) for k, v in self._tensors().items()}
        return replace(self, **moved)

    def part(self, start: int, stop: int) -> "Batch":
        """Some of the patients, padded as before."""
        rows: dict[str, Any] = {k: v[start:stop] for k, v in self._tensors().items()}
        rows["patient_id"] = self.patient_id[start:stop]
        rows["sentences"] = self.sentences[start:stop]
        return replace(self, **rows)

    def _tensors(self) -> dict[str, Tensor]:
        return {name: value for name, value in vars(self).items() if isinstance(value, Tensor)}

    def jitter(self, jitter: Jitter, generator: torch.Generator, *, first: int = 0) -> "Batch":
        """Change every volume a little; see `mg3d.data.augment`.

        Args:
            jitter: how much.
            generator: on the CPU; in the same state on every process.
            first: place of this batch's first patient in the global batch.
        """
        if not jitter.active:
            return self
        seeds = _own_seeds(generator, first, len(self))
        volumes = [
            jitter_volume(volume, jitter, _seeded(seed))
            for volume, (seed, _) in zip(self.volume, seeds, strict=True)
        ]
        return replace(self, volume=torch.stack(volumes))

    def hide(
        self,
        generator: torch.Generator,
        *,
        block: int,
        voxel_ratio: float,
        word_ratio: float,
        mask_token: int,
        vocabulary_size: int,
        special_tokens: Sequence[int],
        voxels: bool = True,
        words: bool = True,
        first: int = 0,
    ) -> "Batch":
        """Draw what the model may not see: blocks of voxels, whole words.

        Each patient has seeds of its own, by its place in the global batch: what is hidden of it
        depends neither on the other patients nor on which process holds it.

        Args:
            generator: on the CPU; the same state gives the same masks on any device.
            block: edge of a hidden block, voxels.
            voxel_ratio: share of blocks hidden, per patient.
            word_ratio: share of words hidden, per report.
            mask_token: id of [MASK].
            vocabulary_size: random replacements are drawn below it.
            special_tokens: ids never drawn as replacement.
            voxels: False leaves the volume whole; MIM is then not computed.
            words: False leaves the report whole; MLM and SFR are then not computed.
            first: place of this batch's first patient in the global batch.
        """
        seeds = _own_seeds(generator, first, len(self))
        hidden: dict[str, Any] = {}
        if voxels:
            height, width, depth = self.volume.shape[2:]
            masks = [
                hide_blocks((height, width, depth), block, voxel_ratio, 1, _seeded(seed))
                for seed, _ in seeds
            ]
            hidden["voxel_mask"] = torch.cat(masks).to(self.volume.device)
        if words:
            read, word_mask = self.tokens.clone(), torch.zeros_like(self.padding)
            for row, (_, seed) in enumerate(seeds):
                real = ~self.padding[row]
                read[row, real], word_mask[row, real] = (
                    part[0]
                    for part in hide_words(
                        self.tokens[row, real][None],
                        self.word[row, real][None],
                        self.padding[row, real][None],
                        ratio=word_ratio,
                        mask_token=mask_token,
                        vocabulary_size=vocabulary_size,
                        special_tokens=special_tokens,
                        generator=_seeded(seed),
                    )
                )
            hidden |= {"hidden_tokens": read, "word_mask": word_mask}
        return replace(self, **hidden)


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
        from mg3d.data.manifest import mask_of, read_masks

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


def _own_seeds(generator: torch.Generator, first: int, count: int) -> list[tuple[int, int]]:
    """Two seeds a patient, by its place in the global batch; takes one number, whatever `first`."""
    (base,) = torch.randint(2**62, (1,), generator=generator).tolist()
    drawn = torch.randint(2**62, (first + count, 2), generator=_seeded(base)).tolist()
    return [(seed, other) for seed, other in drawn[first:]]


def _seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def collate(pad_token: int) -> Callable[[Sequence[Patient]], Batch]:
    """How patients become a batch: volumes stacked, reports padded with `pad_token`."""

    def stack(patients: Sequence[Patient]) -> Batch:
        reports = [patient.report for patient in patients]

        def pad(items: list[Tensor], value: int) -> Tensor:
            return torch.nn.utils.rnn.pad_sequence(items, batch_first=True, padding_value=value)

        lengths = torch.tensor([len(report.tokens) for report in reports])
        counts = torch.tensor([len(report.sentences) for report in reports])
        return Batch(
            patient_id=tuple(patient.patient_id for patient in patients),
            volume=torch.stack([patient.volume for patient in patients]),
            tokens=pad([report.tokens for report in reports], pad_token),
            padding=torch.arange(int(lengths.max())) >= lengths[:, None],
            sentence=pad([report.sentence for report in reports], -1),
            word=pad([report.word for report in reports], -1),
            sentences=tuple(report.sentences for report in reports),
            sentence_padding=torch.arange(int(counts.max())) >= counts[:, None],
        )

    return stack
