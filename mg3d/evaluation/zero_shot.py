"""Zero-shot classification: score findings by text prompts, without training on labels.

Each finding has prompts that state it and prompts that deny it. The direction from the denying to
the stating prompts, in the joint space of the CLIP head, stands for the finding; a volume's score
is its cosine with that direction.
"""

import math
import re
from collections import Counter
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
    """Direction from the denying to the stating prompts of a finding, unit length.

    Args:
        model: embeds the prompts.
        head: the CLIP head, trained with the model.
        finding: one of `CT_RATE_FINDINGS`.
    """
    stated, denied = (batch_sentences(model, prompts) for prompts in PROMPTS[finding])
    return head.direction(model, stated, denied)


def closest_finding(sentence: str) -> str:
    """The finding whose stating prompts share the most telling words with a sentence.

    A word tells the more, the fewer findings' prompts use it; a denial counts as what it denies.

    Args:
        sentence: in any case.
    """
    words = {f: set(re.findall(r"\w+", " ".join(PROMPTS[f][0]))) for f in PROMPTS}
    used = Counter(word for own in words.values() for word in own)
    asked = set(re.findall(r"\w+", sentence.lower()))
    return max(
        words, key=lambda f: sum(math.log(len(words) / used[word]) for word in asked & words[f])
    )


def zero_shot_scores(
    model: MG3D,
    head: CLIP,
    volumes: Float[np.ndarray, "P d"],
    findings: Sequence[str] = CT_RATE_FINDINGS,
) -> Float[np.ndarray, "P C"]:
    """Cosine of each volume with each finding's direction, -1 to 1; larger: more likely present.

    Args:
        model: embeds the prompts.
        head: the CLIP head, trained with the model.
        volumes: unit vectors in the joint space of the head.
        findings: one column each.
    """
    directions = [finding_direction(model, head, finding) for finding in findings]
    return volumes @ torch.stack(directions).float().cpu().numpy().T


def zero_shot(model: MG3D, head: CLIP, encoded: Encoded, *, seed: int = 0) -> Probe | None:
    """AUROC of `zero_shot_scores` per label with prompts (chance 0.5); None if no label has any."""
    names = [name for name in encoded.label_names if name in PROMPTS]
    if not names:
        return None
    volumes = project_volumes(head, encoded)
    columns = [encoded.label_names.index(name) for name in names]
    scores = zero_shot_scores(model, head, volumes, names)
    return score_findings(encoded.labels[:, columns], scores, names=names, seed=seed)
