"""One patient as tensors, and many of them as one batch.

A volume comes as 0 to 1 over the HU window, a report as tokens that know their sentence and their
whole word. What is hidden from the model is drawn in `Batch.hide`, and nowhere else.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from mg3d.config import AugmentationSettings
from mg3d.data.augment import jitter_volume
from mg3d.data.masking import hide_blocks, hide_words
from mg3d.text.tokens import TokenizedReport

__all__ = ["Batch", "Patient", "collate"]


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

    def jitter(
        self, jitter: AugmentationSettings, generator: torch.Generator, *, first: int = 0
    ) -> "Batch":
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

        Every patient gets its own seeds, derived from its index in the global batch: its masks
        depend neither on the other patients nor on the process that holds it.

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
