"""Zero-shot classification: name a finding from words alone, with no label ever seen.

For every finding there are sentences that state it and sentences that deny it. Swapping a denial
for a statement moves a report in the space where reports and volumes are compared; a volume's score
is its cosine with that move.
"""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from mg3d.data.labels import CT_RATE_FINDINGS
from mg3d.evaluation.encode import Encoded, batch_sentences, project_volumes
from mg3d.evaluation.probe import Probe, score_findings
from mg3d.model import MG3D
from mg3d.objectives.clip import CLIP
from mg3d.text.prompts import PROMPTS


@torch.no_grad()
def finding_direction(model: MG3D, head: CLIP, finding: str) -> Float[Tensor, " d"]:
    """From the finding denied to the finding stated, unit length.

    Args:
        model: embeds the prompts.
        head: compares; trained with the model.
        finding: one of `CT_RATE_FINDINGS`.
    """
    stated, denied = (batch_sentences(model, prompts) for prompts in PROMPTS[finding])
    return head.direction(model, stated, denied)


def zero_shot_scores(
    model: MG3D,
    head: CLIP,
    volumes: Float[np.ndarray, "P d"],
    findings: Sequence[str] = CT_RATE_FINDINGS,
) -> Float[np.ndarray, "P C"]:
    """How much each volume lies where the finding is stated rather than denied, -1 to 1.

    Args:
        model: embeds the prompts.
        head: compares; trained with the model.
        volumes: unit vectors in the head's space.
        findings: one column each.
    """
    directions = [finding_direction(model, head, finding) for finding in findings]
    return volumes @ torch.stack(directions).float().cpu().numpy().T


def zero_shot(model: MG3D, head: CLIP, encoded: Encoded, *, seed: int = 0) -> Probe | None:
    """AUROC of `zero_shot_scores` for every label with prompts; chance is 0.5. None without any."""
    names = [name for name in encoded.label_names if name in PROMPTS]
    if not names:
        return None
    volumes = project_volumes(head, encoded)
    columns = [encoded.label_names.index(name) for name in names]
    scores = zero_shot_scores(model, head, volumes, names)
    return score_findings(encoded.labels[:, columns], scores, names=names, seed=seed)
