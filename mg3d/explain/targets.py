"""What a map explains: a differentiable score of a volume, one number per finding or sentence.

Three scores can be explained by the same methods. The linear probe's logit knows the labels of
training patients; the zero-shot score and the score of a sentence know only reports. A target takes
volumes and returns scores, so an explanation works with any encoder and needs no attention.
"""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from mg3d.data.dataset import VolumeReportDataset
from mg3d.data.labels import CT_RATE_FINDINGS
from mg3d.evaluation.encode import encode_patients
from mg3d.evaluation.probe import fit_weights
from mg3d.evaluation.search import sentence_directions
from mg3d.evaluation.zero_shot import finding_direction
from mg3d.model import MG3D
from mg3d.objectives.clip import CLIP
from mg3d.training.step import Pretraining

Target = Callable[[Float[Tensor, "B 1 H W D"]], Float[Tensor, "B Q"]]


def probe_logits(model: MG3D, train: VolumeReportDataset) -> Target:
    """Log-odds of each label by a linear probe on the frozen encoder, see `evaluation.probe`.

    Args:
        model: whose encoder is probed.
        train: patients the probe is fitted on.
    """
    encoded = encode_patients(model, train)
    fitted = fit_weights(encoded.encoder_features, encoded.labels)
    device = next(model.parameters()).device
    weight, bias = (torch.from_numpy(v).float().to(device) for v in (fitted.weight, fitted.bias))

    def logits(volumes: Float[Tensor, "B 1 H W D"]) -> Float[Tensor, "B Q"]:
        tokens = model.encoder(volumes)[-1].flatten(2)  # (B, f, N)
        return torch.cat([tokens.mean(-1), tokens.amax(-1)], dim=1) @ weight.T + bias

    return logits


def zero_shot_targets(
    pretraining: Pretraining, findings: Sequence[str] = CT_RATE_FINDINGS
) -> Target:
    """Cosine of a volume with each finding's direction, from denying to stating prompts.

    Args:
        pretraining: with a CLIP head.
        findings: with prompts (`text.prompts`).

    Raises:
        ValueError: if the model has no CLIP head.
    """
    model, head = pretraining.model, _clip_of(pretraining)
    directions = [finding_direction(model, head, finding) for finding in findings]
    return _cosines(model, head, torch.stack(directions))


def sentence_targets(pretraining: Pretraining, sentences: Sequence[str]) -> Target:
    """Cosine of a volume with each sentence's direction: the score of `evaluation.search`.

    Args:
        pretraining: with a CLIP head.
        sentences: in lower case, as reports are.

    Raises:
        ValueError: if the model has no CLIP head.
    """
    model, head = pretraining.model, _clip_of(pretraining)
    return _cosines(model, head, sentence_directions(model, head, sentences))


def _cosines(model: MG3D, head: CLIP, directions: Float[Tensor, "Q d"]) -> Target:
    def cosines(volumes: Float[Tensor, "B 1 H W D"]) -> Float[Tensor, "B Q"]:
        return head.volume_head(model.embed_volumes(volumes)) @ directions.to(volumes.device).T

    return cosines


def _clip_of(pretraining: Pretraining) -> CLIP:
    head = pretraining.find(CLIP)
    if head is None:
        raise ValueError(
            "zero-shot scores need a clip head, and this run was trained without; train with "
            "weight clip > 0"
        )
    return head
