"""Search volumes with a sentence: the nearest ones in the joint space of the CLIP head.

A report says many things, a sentence one, so a sentence taken for a report lies far from all of
them. What is compared is therefore the way from a normal report, the mean of the prompts that deny
a finding, to the sentence. The words are compared, not the meaning: a denial finds what it denies.
"""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from mg3d.evaluation.encode import batch_sentences
from mg3d.model import MG3D
from mg3d.objectives.clip import CLIP
from mg3d.text.prompts import PROMPTS


@torch.no_grad()
def sentence_directions(model: MG3D, head: CLIP, sentences: Sequence[str]) -> Float[Tensor, "S d"]:
    """Unit direction from a normal report to each sentence, in the joint space.

    Args:
        model: embeds the sentences.
        head: trained with it.
        sentences: in lower case, as reports are.
    """
    normal = batch_sentences(model, [text for _, denying in PROMPTS.values() for text in denying])
    return torch.stack(
        [head.direction(model, batch_sentences(model, [text]), normal) for text in sentences]
    )


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
    scores = volumes @ sentence_directions(model, head, [sentence])[0].cpu().numpy()
    return [int(row) for row in np.argsort(-scores, kind="stable")[:best]]
