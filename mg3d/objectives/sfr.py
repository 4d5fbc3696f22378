"""Sentence feature reconstruction (SFR): restore a sentence's features when words are hidden.

The repaired words (`Features.repaired_words`) are averaged per sentence, and so are the frozen
embeddings of the original words. A small network maps each average to 8 dimensions; the loss is
1 - cosine between the two, summed over a report's sentences and averaged over patients, so that
long reports weigh more.

Source: MG-3D (arXiv 2412.05876), Fig. 3c; networks as in the released code, see Q17 and Q31 to Q33
in `docs/quirks.md`.
Trivial optimum: a constant. The target's network is trained too, without stop-gradient, so both
sides can agree on one direction for every sentence. Compare the loss with `constant_loss`, and look
at `feature_spread`: a loss near 0 means something only while the targets differ.
"""

from dataclasses import dataclass

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from mg3d.config import PretrainConfig
from mg3d.data.batch import Batch
from mg3d.distributed import global_mean
from mg3d.model import MG3D, Features, mean_sentences
from mg3d.objectives.collapse import feature_spread
from mg3d.objectives.objective import Baseline, Objective, TrainingPatients
from mg3d.objectives.precision import at_least_float32


@dataclass(frozen=True)
class SentenceGuesses:
    """All sentences of this process's reports, concatenated: with repaired and original words."""

    repaired: Float[Tensor, "S k"]
    target: Float[Tensor, "S k"]


class SentenceProjection(nn.Module):
    """linear, standardise each sentence over its features, GELU, linear.

    Args:
        dim: width of the sentence features.
        hidden: width of the hidden layer.
        width: of the output.
    """

    def __init__(self, dim: int, hidden: int, width: int):
        super().__init__()
        self.expand = nn.Linear(dim, hidden)
        self.output = nn.Linear(hidden, width)

    def forward(self, sentences: Float[Tensor, "S d"]) -> Float[Tensor, "S k"]:
        """One vector per sentence; independent of the other sentences."""
        features = self.expand(sentences)
        return self.output(F.gelu(F.layer_norm(features, features.shape[-1:])))


class SFR(Objective):
    """The two networks, and their loss.

    Args:
        dim: fusion width d.
        text_dim: width e of the text encoder.
        hidden: width inside the network of the repaired sentences.
        width: of the space where the two are compared.
        learn_target: whether the target's network is trained, as released. If not, it stays the
            random projection it was initialised as, which excludes the constant solution.
    """

    label = "SFR · sentence features"
    trivial_model = "one prediction for every sentence"
    reads = frozenset({"repaired_words", "embedded_sentences"})
    hides = frozenset({"words"})

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

    @classmethod
    def from_config(cls, config: PretrainConfig, model: MG3D) -> "SFR":
        """Build it with the settings of a run."""
        return cls(
            config.network.dim,
            model.text_encoder.width,
            learn_target=config.objectives.sfr_learn_target,
        )

    def compare(self, features: Features, batch: Batch) -> SentenceGuesses:
        """The pairs of vectors that the loss compares.

        Raises:
            ValueError: if the batch has no hidden words.
        """
        if features.repaired_words is None:
            raise ValueError(
                "SFR needs hidden words, but this batch is whole; call batch.hide(..., words=True) "
                "before the model, or give SFR weight 0"
            )
        real = ~batch.sentence_padding
        repaired = mean_sentences(features.repaired_words, batch)
        return SentenceGuesses(
            self.repaired(repaired[real]), self.target(features.embedded_sentences[real])
        )

    def forward(self, features: Features, batch: Batch) -> Float[Tensor, ""]:
        """Sum over a report's sentences of 1 - cosine, mean over the global batch."""
        guesses = self.compare(features, batch)
        return global_mean(disagreement(guesses).sum(), len(batch))

    def baseline(self, features: Features, batch: Batch, train: TrainingPatients) -> Baseline:
        """`constant_loss` of the targets, and the spread of the repaired sentences."""
        guesses = self.compare(features, batch)
        return Baseline(
            float(constant_loss(guesses.target, len(batch))),
            spread=float(feature_spread(guesses.repaired)),
        )


def disagreement(guesses: SentenceGuesses) -> Float[Tensor, " S"]:
    """1 - cosine of every sentence with its target, 0 to 2."""
    repaired, target = at_least_float32(guesses.repaired), at_least_float32(guesses.target)
    return 1 - F.cosine_similarity(repaired, target, dim=-1, eps=1e-6)


def constant_loss(target: Float[Tensor, "S k"], num_patients: int) -> Float[Tensor, ""]:
    """Trivial baseline: the best prediction that is the same for every sentence.

    Among constants the direction of the mean unit target is best; its mean loss per sentence is
    1 - the length of that mean.

    Args:
        target: of all sentences of the batch; only the directions count.
        num_patients: number of reports the sentences come from.
    """
    return feature_spread(target) * len(target) / num_patients
