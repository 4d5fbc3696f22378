"""METEOR 1.5 by its authors' Java program, through pycocoevalcap; without them, not computed.

There is no other implementation to fall back on: NLTK's `meteor_score` has an older definition
and gives about twice the value on reports, so it must not stand under this name.

Source: Denkowski and Lavie, "Meteor Universal", 2014.
"""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec

import numpy as np
from jaxtyping import Float

from mg3d.evaluation.text_metrics.checks import Tokens, check_pairs


@dataclass(frozen=True)
class Meteor:
    """METEOR of a corpus, or the reason why there is none."""

    corpus: float  # of the summed statistics, which papers report; NaN if not computed
    per_report: Float[np.ndarray, " P"]  # NaN if not computed; its mean is not `corpus`
    not_computed: str = ""  # the reason, "" if computed


def missing() -> str:
    """What METEOR lacks on this machine, in a sentence; "" if it can be computed."""
    if find_spec("pycocoevalcap") is None:
        return 'METEOR needs pycocoevalcap (101 MB): pip install "mg3d[metrics]"'
    if shutil.which("java") is None:
        return "METEOR needs Java 8 or newer, and there is no `java` on the path"
    return ""


def meteor(generated: Sequence[Tokens], references: Sequence[Tokens]) -> Meteor:
    """METEOR with the English paraphrase table and normalised punctuation (`-l en -norm`).

    Raises:
        ValueError: if the numbers of reports differ or a reference is empty.
        RuntimeError: if the Java program stops without an answer.
    """
    check_pairs(generated, references)
    reason = missing()
    if reason:
        return Meteor(float("nan"), np.full(len(references), np.nan), reason)

    from pycocoevalcap.meteor.meteor import Meteor as JavaMeteor

    program = JavaMeteor()
    # The program's protocol is one line a report, fields parted by |||.
    own, theirs = (
        {i: [" ".join(tokens).replace("|||", " ")] for i, tokens in enumerate(side)}
        for side in (generated, references)
    )
    try:
        corpus, per_report = program.compute_score(theirs, own)
    except (ValueError, BrokenPipeError) as error:  # an empty line instead of a number
        program.lock.release()  # its destructor waits for the lock it took
        raise RuntimeError(
            "METEOR's Java program stopped without an answer; it needs 2 GB of free memory and "
            "`java -version` must work"
        ) from error
    return Meteor(float(corpus), np.array(per_report))
