"""Patients to vectors, in batches and without gradients: what every evaluation starts from."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import nn
from torch.utils.data import DataLoader, Subset

from mg3d.data.dataset import VolumeReportDataset, collate
from mg3d.model import MG3D
from mg3d.objectives.clip import CLIP
from mg3d.text.tokens import tokenize_report


@dataclass(frozen=True)
class Encoded:
    """One row a patient (its first volume). Index C runs over the findings."""

    patient_id: tuple[str, ...]
    encoder_features: Float[np.ndarray, "P f"]  # vision encoder alone: tokens' mean and maximum
    volume_vector: Float[np.ndarray, "P d"]  # the model's, knowing nothing of the report
    report_vector: Float[np.ndarray, "P d"]  # the model's, knowing nothing of the volume
    report_features: Float[np.ndarray, "P e"]  # frozen text encoder alone: mean of its states
    labels: Float[np.ndarray, "P C"]  # 1 present, 0 absent, NaN unknown


@torch.no_grad()
def encode_patients(model: MG3D, dataset: VolumeReportDataset, *, batch_size: int = 32) -> Encoded:
    """Encode every patient once, each modality alone.

    Args:
        model: moved by the caller; used in evaluation mode and left as it was.
        dataset: one split.
        batch_size: patients at a time; changes no number beyond rounding.
    """
    was_training = model.training
    model.eval()
    device = next(model.parameters()).device
    loader = DataLoader(
        Subset(dataset, dataset.first_volumes),
        batch_size=batch_size,
        collate_fn=collate(model.text_encoder.pad_token),
    )
    rows: dict[str, list[np.ndarray]] = {}
    for whole in loader:
        batch = whole.to(device)
        hidden = model.text_encoder(batch.tokens, batch.padding).hidden
        real = (batch.sentence >= 0)[..., None]
        tokens = model.encoder(batch.volume)[-1].flatten(2)  # (B, f, N)
        parts = {
            "encoder_features": torch.cat([tokens.mean(-1), tokens.amax(-1)], dim=1),
            "volume_vector": model.embed_volumes(batch.volume),
            "report_vector": model.embed_reports(batch),
            "report_features": (hidden * real).sum(1) / real.sum(1),
        }
        for name, value in parts.items():
            rows.setdefault(name, []).append(value.float().cpu().numpy())
    model.train(was_training)
    stacked = {name: np.concatenate(values) for name, values in rows.items()}
    return Encoded(tuple(dataset.patients), labels=dataset.labels(), **stacked)


@torch.no_grad()
def project_volumes(head: CLIP, encoded: Encoded) -> Float[np.ndarray, "P d"]:
    """Volume vectors in the space the CLIP head compares in (unit length)."""
    return _project(head.volume_head, encoded.volume_vector)


@torch.no_grad()
def project_reports(head: CLIP, encoded: Encoded) -> Float[np.ndarray, "P d"]:
    """Report vectors in the space the CLIP head compares in (unit length)."""
    return _project(head.report_head, encoded.report_vector)


def _project(head: nn.Module, vectors: Float[np.ndarray, "P d"]) -> Float[np.ndarray, "P d"]:
    device = next(head.parameters()).device
    return head(torch.from_numpy(vectors).to(device)).float().cpu().numpy()


@torch.no_grad()
def embed_sentences(model: MG3D, head: CLIP, sentences: list[str]) -> Float[np.ndarray, "Q d"]:
    """Sentences, each as a report of its own, in the space the CLIP head compares in."""
    from mg3d.data.dataset import Patient

    tokenizer = model.text_encoder.tokenizer
    device = next(model.parameters()).device
    nothing = torch.zeros(1, 1, 1, 1)
    patients = [
        Patient("", "", nothing, tokenize_report(tokenizer, [text.lower()], 64))
        for text in sentences
    ]
    batch = collate(model.text_encoder.pad_token)(patients).to(device)
    return head.report_head(model.embed_reports(batch)).float().cpu().numpy()
