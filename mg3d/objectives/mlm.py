"""Masked language modelling (MLM): guess hidden words from the rest of the report and the volume.

Hidden words pass the frozen text encoder, meet the tokens of the whole volume in the word fusion
and the prediction transform (all in the model: `Features.repaired_words`); here one linear layer
names the word. Only hidden places are looked at, which is also all that is computed.

Source: MG-3D (arXiv 2412.05876), Fig. 3b. The decoder is not tied to the text encoder's embeddings,
as in the released code; the mean runs over the hidden tokens of the global batch. Values depart
from the released ones because a share of the real words is hidden, there of all places, padding
among them (Q36), and because padding does not count in the gates (Q10; `config.quirks.padded_to`).
Trivial optimum: the unigram model (`unigram_loss`), which reads nothing. Beating it takes the text;
whether the volume helps shows when it is swapped for another patient's
(`mg3d.evaluation.other_volume`).
"""

import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from mg3d.data.batch import Batch
from mg3d.distributed import global_mean
from mg3d.model import Features
from mg3d.objectives.precision import at_least_float32


class MLM(nn.Module):
    """The decoder from repaired words to the vocabulary.

    Args:
        dim: fusion width d.
        vocabulary_size: of the text encoder.
    """

    def __init__(self, dim: int, vocabulary_size: int):
        super().__init__()
        self.decoder = nn.Linear(dim, vocabulary_size)
        nn.init.zeros_(self.decoder.bias)

    def guess(self, features: Features, batch: Batch) -> Float[Tensor, "M V"]:
        """Logits at the M hidden tokens of this process, in the order of `word_mask`.

        Raises:
            ValueError: if the batch has no hidden words.
        """
        if features.repaired_words is None or batch.word_mask is None:
            raise ValueError(
                "MLM needs hidden words, but this batch is whole; call batch.hide(..., words=True) "
                "before the model, or give MLM weight 0"
            )
        return self.decoder(features.repaired_words[batch.word_mask])

    def forward(self, features: Features, batch: Batch) -> Float[Tensor, ""]:
        """Mean cross-entropy over the hidden tokens of the global batch; 0 if there are none."""
        logits = self.guess(features, batch)
        return global_mean(cross_entropy_sum(logits, batch.tokens[batch.word_mask]), len(logits))


def cross_entropy_sum(logits: Float[Tensor, "M V"], tokens: Int[Tensor, " M"]) -> Float[Tensor, ""]:
    """Sum of -log softmax(logits)[token], in float32; 0 for no token."""
    return F.cross_entropy(at_least_float32(logits), tokens.long(), reduction="sum")


def unigram_loss(
    counts: Int[Tensor, " V"], tokens: Int[Tensor, "B T"], word_mask: Bool[Tensor, "B T"]
) -> Float[Tensor, ""]:
    """Trivial baseline: guess every hidden token by how often it occurs in training reports.

    Args:
        counts: occurrences of each id in the training reports; 1 is added to each.
        tokens: the true ids of held-out reports.
        word_mask: True where a token is hidden.
    """
    smoothed = counts.double() + 1
    surprise = (smoothed.sum() / smoothed).log()  # of each id
    hidden = tokens[word_mask].long()
    return (surprise[hidden].sum() / max(1, len(hidden))).float()
