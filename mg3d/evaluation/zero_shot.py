"""Zero-shot classification: name a finding from words alone, with no label ever seen.

For every finding, the volume is compared with sentences that state it and sentences that deny it;
the score is the difference of the mean cosines.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from mg3d.data.labels import CT_RATE_FINDINGS
from mg3d.evaluation.encode import Encoded, embed_sentences, project_volumes
from mg3d.evaluation.probe import Probe, score_findings
from mg3d.model import MG3D
from mg3d.objectives.clip import CLIP
from mg3d.text.prompts import PROMPTS


def zero_shot_scores(
    model: MG3D,
    head: CLIP,
    volumes: Float[np.ndarray, "P d"],
    findings: Sequence[str] = CT_RATE_FINDINGS,
) -> Float[np.ndarray, "P C"]:
    """How much more each volume resembles the finding stated than denied, -2 to 2.

    Args:
        model: embeds the prompts.
        head: compares; trained with the model.
        volumes: unit vectors in the head's space.
        findings: one column each.
    """
    columns = []
    for finding in findings:
        assertions, denials = PROMPTS[finding]
        stated = embed_sentences(model, head, list(assertions))
        denied = embed_sentences(model, head, list(denials))
        columns.append((volumes @ stated.T).mean(1) - (volumes @ denied.T).mean(1))
    return np.stack(columns, axis=1)


def zero_shot(model: MG3D, head: CLIP, encoded: Encoded, *, seed: int = 0) -> Probe:
    """AUROC per finding of `zero_shot_scores`; chance is 0.5."""
    return score_findings(
        encoded.labels, zero_shot_scores(model, head, project_volumes(head, encoded)), seed=seed
    )
