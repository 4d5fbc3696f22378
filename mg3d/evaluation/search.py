"""Search volumes with a sentence: the nearest ones in the joint space of the CLIP head."""

import numpy as np
from jaxtyping import Float

from mg3d.evaluation.encode import project_sentences
from mg3d.model import MG3D
from mg3d.objectives.clip import CLIP


def search_volumes(
    model: MG3D, head: CLIP, volumes: Float[np.ndarray, "P d"], sentence: str, *, best: int = 5
) -> list[int]:
    """Rows of the volumes that fit a sentence best, the best first.

    Args:
        model: embeds the sentence.
        head: trained with it.
        volumes: unit vectors, from `encode.project_volumes`.
        sentence: in lower case, as reports are.
        best: number of volumes; at most all.
    """
    scores = volumes @ project_sentences(model, head, [sentence])[0]
    return [int(row) for row in np.argsort(-scores, kind="stable")[:best]]
