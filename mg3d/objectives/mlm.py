"""Masked language modelling (MLM): predict hidden words from the rest of the report and the volume.

The model encodes the report with hidden words, fuses it with the tokens of the whole volume and
applies BERT's prediction transform (`Features.repaired_words`). One linear layer, not tied to the
text encoder's embeddings, gives logits over the vocabulary, at hidden tokens only.

Source: MG-3D (arXiv 2412.05876), Fig. 3b; the released code differs in details, see Q10, Q30 and
Q36 in `docs/quirks.md`.
Trivial optimum: the unigram model (`unigram_loss`), which uses no context. A lower loss shows that
the report's other words are used; `mg3d.evaluation.other_volume` measures whether the volume is.
"""

import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from mg3d.config import PretrainConfig
from mg3d.data.batch import Batch
from mg3d.distributed import global_mean
from mg3d.model import MG3D, Features
from mg3d.objectives.objective import Baseline, Objective, TrainingPatients
from mg3d.objectives.precision import at_least_float32


class MLM(Objective):
    """The decoder from repaired words to the vocabulary, and its loss.

    Args:
        dim: fusion width d.
        vocabulary_size: of the text encoder.
    """

    label = "MLM · hidden words"
    trivial_model = "the unigram model"
    reads = frozenset({"repaired_words"})
    hides = frozenset({"words"})

    def __init__(self, dim: int, vocabulary_size: int):
        super().__init__()
        self.decoder = nn.Linear(dim, vocabulary_size)
        nn.init.zeros_(self.decoder.bias)

    @classmethod
    def from_config(cls, config: PretrainConfig, model: MG3D) -> "MLM":
        """Build it with the settings of a run."""
        return cls(config.network.dim, model.text_encoder.vocabulary_size)

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

    def baseline(self, features: Features, batch: Batch, train: TrainingPatients) -> Baseline:
        """`unigram_loss` of the training reports' word counts."""
        assert batch.word_mask is not None
        counts = train.token_counts.to(batch.tokens.device)
        return Baseline(float(unigram_loss(counts, batch.tokens, batch.word_mask)))


def cross_entropy_sum(logits: Float[Tensor, "M V"], tokens: Int[Tensor, " M"]) -> Float[Tensor, ""]:
    """Sum of -log softmax(logits)[token], in float32; 0 for no token."""
    return F.cross_entropy(at_least_float32(logits), tokens.long(), reduction="sum")


def unigram_loss(
    counts: Int[Tensor, " V"], tokens: Int[Tensor, "B T"], word_mask: Bool[Tensor, "B T"]
) -> Float[Tensor, ""]:
    """Trivial baseline: predict every hidden token by its frequency in training reports.

    Args:
        counts: occurrences of each id in the training reports; 1 is added to each.
        tokens: the true ids of held-out reports.
        word_mask: True where a token is hidden.
    """
    smoothed = counts.double() + 1
    surprise = (smoothed.sum() / smoothed).log()  # of each id
    hidden = tokens[word_mask].long()
    return (surprise[hidden].sum() / max(1, len(hidden))).float()
