"""What can a volume tell a hidden word through the fusion? The smallest case, trained in seconds.

Every report is one hidden word, the same [MASK] for all patients, and every volume shows one
finding, known for certain: one of its visual tokens is the finding's own fixed random vector, the
others are 0. The word names the finding, so it can only be read from the volume. What is trained is
the fusion and the prediction head, as in MLM (`mg3d.objectives.mlm`); the trivial loss is ln(number
of findings).
"""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import nn

from mg3d.attention.fusion import Fusion
from mg3d.training.fit import fit
from mg3d.training.run_log import SILENT
from mg3d.training.seeds import seed_of

PATIENTS = 64  # a batch
TOKENS = 16  # of a volume
RATE = 3e-3
LAST = 20  # steps that the final loss is the mean of


class HiddenWord(nn.Module):
    """One hidden word, fused with the tokens of a volume, as logits over the findings.

    Args:
        attention: a key of `mg3d.attention.fusion.ATTENTIONS`.
        findings: how many words there are to choose from.
        dim: width of the tokens.
    """

    findings: torch.Tensor

    def __init__(self, attention: str, findings: int, dim: int = 32):
        super().__init__()
        self.register_buffer("findings", torch.zeros(findings, TOKENS, dim))
        self.findings[:, 0] = torch.randn(findings, dim)  # no attention sees the place
        self.mask = nn.Parameter(torch.randn(1, 1, dim))
        self.fusion = Fusion(dim, 2, attention)
        self.head = nn.Sequential(
            *(nn.Linear(dim, dim), nn.GELU(), nn.LayerNorm(dim), nn.Linear(dim, findings))
        )

    def forward(self, finding: torch.Tensor) -> torch.Tensor:
        """Logits (B, findings) of patients with these findings (B,)."""
        _, word = self.fusion(self.findings[finding], self.mask.expand(len(finding), -1, -1))
        logits: torch.Tensor = self.head(word[:, 0])
        return logits


def learn_hidden_word(attention: str, findings: int, *, steps: int = 300, seed: int = 0) -> float:
    """Train a `HiddenWord`; its cross-entropy over the last steps, in nats.

    Args:
        attention: "gated" or "softmax".
        findings: how many there are, at least 2, equally frequent.
        steps: of training, each on patients drawn anew.
        seed: of weights and patients; the global generator is left as it was.

    Raises:
        ValueError: if there is nothing to choose from, or no step to train.
    """
    if findings < 2 or steps < 1:
        raise ValueError(
            f"a word to guess needs at least 2 findings and 1 step, got {findings} and {steps}"
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        learner = HiddenWord(attention, findings)

    def batches(numbers: range) -> Iterator[torch.Tensor]:
        for number in numbers:
            generator = torch.Generator().manual_seed(seed_of(seed, number))
            yield torch.randint(findings, (PATIENTS,), generator=generator)

    run = fit(
        learner,
        lambda learner, finding: {"mlm": F.cross_entropy(learner(finding), finding)},
        batches,
        torch.optim.AdamW(learner.parameters(), lr=RATE),
        steps=steps,
        seed=seed,
        log=SILENT,
    )
    _, losses = run.history.column("mlm")
    return sum(losses[-LAST:]) / len(losses[-LAST:])
