"""Sentence feature reconstruction (SFR): a sentence with hidden words should still mean the same.

The words repaired with the volume's help are averaged per sentence; so are the embeddings of the
untouched words. Each goes through a small network into 8 dimensions, where the two must point in
the same direction.

Source: MG-3D (arXiv 2412.05876), Fig. 3c; networks as in the released code, whose "batch norm" on
the shapes it gets standardises each sentence over its features (a layer norm without affine). The
loss is summed over a report's sentences, so long reports weigh more, and averaged over the batch.
Trivial optimum: a constant. The target's network learns too, with no stop-gradient, so both sides
may agree on one direction for every sentence. Read `constant_loss` and `feature_spread` beside the
loss: near 0 is an achievement only while the targets stay spread out.
"""

from dataclasses import dataclass

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from mg3d.attention.pooling import mean_by_index
from mg3d.data.batch import Batch
from mg3d.distributed import global_mean
from mg3d.model import Features
from mg3d.objectives.collapse import feature_spread
from mg3d.objectives.precision import at_least_float32


@dataclass(frozen=True)
class SentenceGuesses:
    """Every sentence of this process's reports, concatenated: as repaired, and as it was."""

    repaired: Float[Tensor, "S k"]
    target: Float[Tensor, "S k"]


class SentenceProjection(nn.Module):
    """linear, standardise each sentence over its features, GELU, linear.

    Args:
        dim: width of the sentence features.
        hidden: width in between.
        width: of the result.
    """

    def __init__(self, dim: int, hidden: int, width: int):
        super().__init__()
        self.expand = nn.Linear(dim, hidden)
        self.output = nn.Linear(hidden, width)

    def forward(self, sentences: Float[Tensor, "S d"]) -> Float[Tensor, "S k"]:
        """One vector a sentence, whatever the others are."""
        features = self.expand(sentences)
        return self.output(F.gelu(F.layer_norm(features, features.shape[-1:])))


class SFR(nn.Module):
    """Both networks and their disagreement.

    Args:
        dim: fusion width d.
        text_dim: width e of the text encoder.
        hidden: width inside the network of the repaired sentences.
        width: where the two are compared.
        learn_target: whether the target's network learns along, as released. If not, it stays the
            random projection it starts as, and agreeing on a constant is no longer possible.
    """

    def __init__(
        self,
        dim: int,
        text_dim: int,
        hidden: int = 128,
        width: int = 8,
        *,
        learn_target: bool = True,
    ):
        super().__init__()
        self.repaired = SentenceProjection(dim, hidden, width)
        self.target = nn.Sequential(
            nn.Linear(text_dim, text_dim // 2), nn.ReLU(), nn.Linear(text_dim // 2, width)
        ).requires_grad_(learn_target)

    def compare(self, features: Features, batch: Batch) -> SentenceGuesses:
        """What the loss compares, sentence by sentence.

        Raises:
            ValueError: if the batch has no hidden words.
        """
        if features.repaired_words is None:
            raise ValueError(
                "SFR needs hidden words, but this batch is whole; call batch.hide(..., words=True) "
                "before the model, or give SFR weight 0"
            )
        real = ~batch.sentence_padding
        repaired, _ = mean_by_index(features.repaired_words, batch.sentence, real.shape[1])
        return SentenceGuesses(
            self.repaired(repaired[real]), self.target(features.embedded_sentences[real])
        )

    def forward(self, features: Features, batch: Batch) -> Float[Tensor, ""]:
        """Sum over a report's sentences of 1 - cosine, mean over the global batch."""
        guesses = self.compare(features, batch)
        return global_mean(disagreement(guesses).sum(), len(batch))


def disagreement(guesses: SentenceGuesses) -> Float[Tensor, " S"]:
    """1 - cosine of every sentence with its target, 0 to 2."""
    repaired, target = at_least_float32(guesses.repaired), at_least_float32(guesses.target)
    return 1 - F.cosine_similarity(repaired, target, dim=-1, eps=1e-6)


def constant_loss(target: Float[Tensor, "S k"], num_patients: int) -> Float[Tensor, ""]:
    """Trivial baseline: the best prediction that is the same for every sentence.

    Among constants the direction of the mean unit target is best, and costs each sentence 1 - its
    length on average.

    Args:
        target: of all sentences of the batch; any length, only the direction counts.
        num_patients: whose sentences they are.
    """
    return feature_spread(target) * len(target) / num_patients
