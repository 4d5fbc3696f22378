"""Encode patients as vectors, in batches and without gradients; every evaluation starts here."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.data import DataLoader, Subset

from mg3d.attention.pooling import masked_mean
from mg3d.data.batch import Batch, Patient, collate
from mg3d.data.dataset import VolumeReportDataset
from mg3d.model import MG3D
from mg3d.modes import evaluating
from mg3d.objectives.clip import CLIP
from mg3d.text.tokens import tokenize_report


@dataclass(frozen=True)
class Encoded:
    """Vectors and labels of P patients, one row per patient (its first volume); C labels."""

    patient_id: tuple[str, ...]
    encoder_features: Float[np.ndarray, "P f"]  # vision encoder: mean and maximum over its tokens
    volume_vector: Float[np.ndarray, "P d"]  # from MG3D.embed_volumes, without the report
    report_vector: Float[np.ndarray, "P d"]  # from MG3D.embed_reports, without the volume
    report_words: Float[np.ndarray, "P e"]  # frozen embedding layer, mean over sentences
    labels: Float[np.ndarray, "P C"]  # 1 present, 0 absent, NaN unknown
    label_names: tuple[str, ...]  # of the data set, such as the 18 findings of CT-RATE


@torch.no_grad()
def encode_patients(model: MG3D, dataset: VolumeReportDataset, *, batch_size: int = 32) -> Encoded:
    """Encode each patient's first volume and its report, each without the other.

    Args:
        model: on the device to use; put in evaluation mode, and its mode restored at the end.
        dataset: one split.
        batch_size: patients at a time; changes the vectors by rounding only.
    """
    device = next(model.parameters()).device
    loader = DataLoader(
        Subset(dataset, dataset.first_volumes),
        batch_size=batch_size,
        collate_fn=collate(model.text_encoder.pad_token),
    )
    rows: dict[str, list[np.ndarray]] = {}
    with evaluating(model):
        for whole in loader:
            batch = whole.to(device)
            tokens = model.encoder(batch.volume)[-1].flatten(2)  # (B, f, N)
            parts = {
                "encoder_features": torch.cat([tokens.mean(-1), tokens.amax(-1)], dim=1),
                "volume_vector": model.embed_volumes(batch.volume),
                "report_vector": model.embed_reports(batch),
                "report_words": embed_words(model, batch),
            }
            for name, value in parts.items():
                rows.setdefault(name, []).append(value.float().cpu().numpy())
    stacked = {name: np.concatenate(values) for name, values in rows.items()}
    return Encoded(
        tuple(dataset.patients),
        labels=dataset.labels(),
        label_names=tuple(dataset.label_names),
        **stacked,
    )


@torch.no_grad()
def project_volumes(head: CLIP, encoded: Encoded) -> Float[np.ndarray, "P d"]:
    """Project volume vectors into the joint space of the CLIP head (unit length)."""
    return _project(head.volume_head, encoded.volume_vector)


@torch.no_grad()
def project_reports(head: CLIP, encoded: Encoded) -> Float[np.ndarray, "P d"]:
    """Project report vectors into the joint space of the CLIP head (unit length)."""
    reports = head.choose(vector=encoded.report_vector, words=encoded.report_words)
    return _project(head.report_head, reports)


def _project(head: nn.Module, vectors: Float[np.ndarray, "P i"]) -> Float[np.ndarray, "P d"]:
    device = next(head.parameters()).device
    # In training mode, a head that centres its inputs would use the mean of held-out patients.
    with evaluating(head):
        return head(torch.from_numpy(vectors).to(device)).float().cpu().numpy()


@torch.no_grad()
def embed_words(model: MG3D, batch: Batch) -> Float[Tensor, "B e"]:
    """Mean over a report's sentences of the frozen embedding layer: a bag of words."""
    features = model(batch, needed=["embedded_sentences"])
    return masked_mean(features.embedded_sentences, batch.sentence_padding)


def batch_sentences(model: MG3D, sentences: Sequence[str]) -> Batch:
    """Make a batch in which each sentence is a report by itself; volumes are one-voxel dummies."""
    text = model.text_encoder
    # 64: tokens kept of a sentence
    patients = [
        Patient("", "", torch.zeros(1, 1, 1, 1), tokenize_report(text.tokenizer, [sentence], 64))
        for sentence in sentences
    ]
    return collate(text.pad_token)(patients).to(next(model.parameters()).device)
