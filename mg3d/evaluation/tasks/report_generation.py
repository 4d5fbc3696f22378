"""Report generation (CTRG-Chest): the findings text of a chest CT, written by a decoder.

Source: MG-3D (arXiv 2412.05876), task 3; what differs from its released code is in
docs/downstream.md.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Int
from torch import Tensor, nn

from mg3d.config.checks import Checked
from mg3d.config.settings import Count
from mg3d.data.volume_dataset import VolumeDataset
from mg3d.encoders import Encoder
from mg3d.evaluation.labeller.label import label_matrix
from mg3d.evaluation.tasks.report_generation_cases import ReportBatch, ReportItems, read_reports
from mg3d.evaluation.tasks.report_generation_decoder import ReportDecoder, Written
from mg3d.evaluation.tasks.report_generation_scores import generation_measures
from mg3d.evaluation.tasks.report_generation_vocabulary import build_vocabulary
from mg3d.evaluation.tasks.settings import FinetuneSettings, TaskConfig
from mg3d.evaluation.tasks.task import Cases, Measure, Predicted, Prediction, Task
from mg3d.modes import evaluating
from mg3d.text.encoder import TextEncoder, load_text_encoder
from mg3d.text.report import clean_text


@dataclass(frozen=True, kw_only=True)
class GenerationSettings(Checked):
    """The decoder, what it writes with, and how it searches."""

    vocabulary: Literal["tokenizer", "released"] = "tokenizer"  # or the released word list
    text_encoder: str = "embedded"  # its tokenizer, and its weights for decoder_start
    decoder_start: Literal["text_encoder", "scratch"] = "text_encoder"  # initial weights
    decoder_width: Count = 128  # of a decoder from scratch; released: 512
    decoder_layers: Count = 2  # of a decoder from scratch; released: 1
    decoder_heads: Count = 4  # of a decoder from scratch; released: 8
    max_tokens: Count = 192  # longest report, start and end included; released: 150
    token_grid: tuple[Count, Count, Count] = (3, 3, 3)  # visual tokens along each axis
    # Tell the decoder 18 findings: those its scores see in the volume, or in training the report's.
    finding_tokens: Literal["volume", "report", "none"] = "volume"
    beams: Count = 3  # of the beam search; 1: greedy
    length_penalty: float = 0.0  # power of the length that log-likelihoods are divided by


class ReportGeneration(Task):
    """CTRG-Chest: write the findings text of a volume. Any prepared folder with reports will do."""

    primary: ClassVar[str] = "clinical_f1_micro"

    @classmethod
    def defaults(cls) -> TaskConfig:
        """Settings for minutes on a CPU."""
        finetune = FinetuneSettings(
            batch_size=16, learning_rate=2e-3, encoder_factor=1.0, warmup_steps=20, total_steps=250
        )
        return TaskConfig(finetune=finetune, own=GenerationSettings())

    @property
    def own(self) -> GenerationSettings:
        """The task's own settings."""
        own = self.config.own
        assert isinstance(own, GenerationSettings)
        return own

    def prepare(self, folder: Path, split: str, *, training: bool = False) -> Cases:
        """Every volume of a split with its findings text."""
        volumes = VolumeDataset(folder, split)
        reports = read_reports(volumes)
        rows = volumes.manifest.rows
        train = [clean_text(text) for text in rows.loc[rows["split"] == "train", "findings"]]
        vocabulary = build_vocabulary(
            self.own.vocabulary, train, tokenizer=self._text_encoder().tokenizer
        )
        findings = label_matrix(reports)
        if training:
            order = self.dealt(np.arange(len(reports)))
            reports, findings = [reports[n] for n in order], findings[order]
        items = ReportItems(volumes, reports, findings, vocabulary, self.own.max_tokens)
        return Cases(
            volumes, items, list(volumes.rows["volume_id"]), list(volumes.rows["patient_id"]),
            items.collate,
        )  # fmt: skip

    def head(self, encoder: Encoder, train: Cases) -> ReportDecoder:
        """Visual tokens and decoder, for the maps that this encoder gives."""
        own, items = self.own, train.items
        begins = own.decoder_start == "text_encoder" and own.vocabulary == "tokenizer"
        positive = items.findings.mean(0)
        return ReportDecoder(
            items.vocabulary,
            channels_of(encoder, items[0].volume),
            settings={
                "hidden_size": own.decoder_width,
                "intermediate_size": 4 * own.decoder_width,
                "num_hidden_layers": own.decoder_layers,
                "num_attention_heads": own.decoder_heads,
            },
            start=self._text_encoder() if begins else None,
            grid=own.token_grid,
            max_tokens=own.max_tokens,
            positive_weight=(1 - positive) / positive.clamp(min=1 / len(items))
            if own.finding_tokens != "none"
            else None,
            told="report" if own.finding_tokens == "report" else "volume",
        )

    def loss(self, output: Written, batch: ReportBatch) -> dict[str, Tensor]:
        """Cross-entropy of the next piece, without padding; of the findings, where there are."""
        target = batch.ids[:, 1:]
        places = torch.arange(1, batch.ids.shape[1], device=target.device)
        real = places < batch.length[:, None]
        logits = output.logits[:, :-1]
        losses = {"words": F.cross_entropy(logits[real].float(), target[real])}
        if output.findings is not None:
            losses["findings"] = F.binary_cross_entropy_with_logits(
                output.findings.float(), batch.findings, pos_weight=output.positive_weight
            )
        return losses

    def metrics(self, predicted: Predicted) -> list[Measure]:
        """Clinical efficacy, BLEU, ROUGE-L, CIDEr and METEOR, of the model and its rivals."""
        return generation_measures(predicted)

    def known(self, train: Cases, numbers: Int[np.ndarray, " N"]) -> dict[str, Any]:
        """The training reports, and what is to be said about the split."""
        facts = train.split.manifest.facts
        released = facts.get("split") == "released"
        note = str(facts.get("released_split", "")) if released else ""
        return {"train_reports": [train.items.reports[n] for n in numbers], "note": note}

    def truth(self, cases: Cases, number: int) -> dict[str, Any]:
        """The whole report, never cut."""
        return {"report": cases.items.reports[number]}

    def predict(
        self, network: nn.Module, cases: Cases, numbers: Int[np.ndarray, " N"], folder: Path
    ) -> Iterator[Prediction]:
        """Reports on each case's own volume, and on the volume of the next patient."""
        other = other_patients(cases.patient_id)
        size = self.config.compute.predict_batch
        for start in range(0, len(numbers), size):
            part = [int(n) for n in numbers[start : start + size]]
            own = self._write(network, cases, part)
            swapped: list[str | None] = [None] * len(part)
            if other:
                swapped = [*self._write(network, cases, [other[n] for n in part])]
            for n, text, elsewhere in zip(part, own, swapped, strict=True):
                output = {"report": text, "other_volume": elsewhere}
                if other:
                    output["other_patient"] = cases.patient_id[other[n]]
                yield Prediction(
                    cases.case_id[n], cases.patient_id[n], output, self.truth(cases, n)
                )

    @torch.no_grad()
    def _write(self, network: Any, cases: Cases, numbers: list[int]) -> list[str]:
        device = next(network.parameters()).device
        volume = torch.stack([cases.items[n].volume for n in numbers]).to(device)
        decoder: ReportDecoder = network.head
        return decoder.write(
            network.maps(volume), beams=self.own.beams, length_penalty=self.own.length_penalty
        )

    def _text_encoder(self) -> TextEncoder:
        return load_text_encoder(self.own.text_encoder)


@torch.no_grad()
def channels_of(encoder: Encoder, volume: Tensor) -> list[int]:
    """Channels of each map that an encoder gives for a volume (1, H, W, D)."""
    device = next(encoder.parameters()).device
    with evaluating(encoder):
        return [m.shape[1] for m in encoder(volume[None].to(device))]


def other_patients(patient_ids: Sequence[str]) -> dict[int, int]:
    """For each case, the first case of the next patient; {} if there is only one patient.

    Args:
        patient_ids: patient of each case.
    """
    first: dict[str, int] = {}
    for number, patient in enumerate(patient_ids):
        first.setdefault(patient, number)
    if len(first) < 2:
        return {}
    patients = list(first)
    following = dict(zip(patients, patients[1:] + patients[:1], strict=True))
    return {number: first[following[patient]] for number, patient in enumerate(patient_ids)}
