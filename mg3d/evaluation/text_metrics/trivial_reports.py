"""Reports written without looking at the image: the rows that belong beside every generated report.

Radiology reports resemble each other, so these score high: on CTRG-Chest one training report for
everybody reaches a ROUGE-L above 0.5. A model has learned to see only what it scores above them,
and above itself given another patient's volume.
"""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from mg3d.evaluation.text_metrics.rouge import rouge_l
from mg3d.evaluation.text_metrics.tokens import tokenise


def most_frequent(train: Sequence[str], num_cases: int) -> list[str]:
    """The training report that occurs most often, for every case; the first of several such."""
    return [Counter(train).most_common(1)[0][0]] * num_cases


def random_training(train: Sequence[str], num_cases: int, *, seed: int = 0) -> list[str]:
    """A training report drawn for each case, with replacement."""
    numbers = np.random.default_rng(seed)
    return [train[i] for i in numbers.integers(len(train), size=num_cases)]


def medoid(
    train: Sequence[str],
    num_cases: int,
    *,
    candidates: int = 150,
    compared_with: int = 200,
    tokeniser: str = "words",
    seed: int = 0,
) -> list[str]:
    """The training report most like other training reports (mean ROUGE-L), for every case.

    Args:
        train: the training reports; the evaluated ones play no part in the choice.
        num_cases: how many reports are asked for.
        candidates: training reports to choose among, drawn at random.
        compared_with: training reports each is compared with, drawn at random.
        tokeniser: a name of `tokens.TOKENISERS`.
        seed: of both draws.
    """
    numbers = np.random.default_rng(seed)
    chosen = numbers.permutation(len(train))[:candidates]
    others = numbers.permutation(len(train))[:compared_with]
    tokens = tokenise(train, tokeniser)
    likeness = [
        rouge_l([tokens[i]] * len(others), [tokens[j] for j in others]).mean() for i in chosen
    ]
    return [train[chosen[int(np.argmax(likeness))]]] * num_cases
