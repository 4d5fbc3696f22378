"""Gates as maps: how far does a sentence open each visual token?

A gate belongs to one visual token and one sentence, so a map of gates is as coarse as the grid of
tokens. Each sentence is given alone, as a report of one sentence: in the second layer the tokens
have already been scaled by the first, and another sentence's gates would be in the map as well.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from mg3d.attention.recording import record_maps
from mg3d.evaluation.encode import batch_sentences
from mg3d.model import MG3D
from mg3d.modes import evaluating


@torch.no_grad()
def sentence_gates(
    model: MG3D, volume: Float[Tensor, "1 H W D"], sentences: Sequence[str]
) -> Float[Tensor, "S L h w d"]:
    """Gates of the visual tokens for each of S sentences, in each of L layers; 0 shut, 1 open.

    Args:
        model: with gated attention.
        volume: one patient, 0 to 1.
        sentences: in lower case, as reports are.

    Raises:
        ValueError: if the model's attention has no gates.
    """
    step = model.forward_pass(model, batch_sentences(model, sentences))
    with evaluating(model), record_maps(model.sentence_fusion) as maps:
        tokens = model.volume_tokens(volume[None].to(next(model.parameters()).device))
        model.sentence_fusion(
            tokens.expand(len(sentences), -1, -1),
            step.sentence_tokens,
            text_padding=step.batch.sentence_padding,
        )
    layers = sorted(name for name in maps if name.endswith("volume.gates"))
    if not layers:
        raise ValueError(
            "this model has no gates; give one whose setting `attention` is 'gated', or explain a "
            "score of it by another map"
        )
    gates = torch.stack([maps[name][:, :, 0] for name in layers], dim=1)  # (S, L, N)
    return gates.unflatten(-1, model.token_grid).cpu()
