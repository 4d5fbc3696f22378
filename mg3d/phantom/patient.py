"""Who a phantom patient is: sex, age and findings, before any voxel or word is made.

The picture (`anatomy`, `findings`) and the words (`report`) are both made from one `PatientPlan`,
which is why they agree. Findings are drawn one after another, so that some make others likelier
(calcified aorta and calcified coronaries; big heart and effusions), as in real chest CT.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from mg3d.data.labels import CT_RATE_FINDINGS

Side = Literal["left", "right", "both"]
Severity = Literal["mild", "moderate", "severe"]

LOBES: tuple[tuple[Side, str], ...] = (
    ("right", "upper lobe"),
    ("right", "middle lobe"),
    ("right", "lower lobe"),
    ("left", "upper lobe"),
    ("left", "lower lobe"),
)


@dataclass(frozen=True)
class Finding:
    """One sign in one patient.

    Attributes:
        name: one of `CT_RATE_FINDINGS`.
        severity: how marked it is; scales the sign and chooses the adjective.
        side: patient's side, or None where the finding has none (heart, aorta, oesophagus).
        lobe: "upper lobe", "middle lobe" or "lower lobe" of that side, or None.
        size_mm: diameter or thickness in mm, or None where it is not measured.
        count: how many of it there are (nodules, lymph nodes), else 1.
        kind: variant of the sign, such as "pacemaker" or "port"; "" where there is only one.
    """

    name: str
    severity: Severity
    side: Side | None = None
    lobe: str | None = None
    size_mm: float | None = None
    count: int = 1
    kind: str = ""


@dataclass(frozen=True)
class PatientPlan:
    """One made-up patient, before drawing. Equal (seed, patient) give equal plans."""

    seed: int
    patient: int
    sex: Literal["F", "M"]
    age: int  # years
    findings: tuple[Finding, ...]

    def labels(self) -> np.ndarray:
        """Which findings are present, (18,) of 0 and 1 in the order of `CT_RATE_FINDINGS`."""
        present = {finding.name for finding in self.findings}
        return np.array([name in present for name in CT_RATE_FINDINGS], dtype=np.int8)


# Independent streams of random numbers: changing the words must not change the picture.
STREAMS = {"plan": 0, "anatomy": 1, "findings": 2, "noise": 3, "report": 4, "scanner": 5}


def stream(seed: int, patient: int, name: str, index: int = 0) -> np.random.Generator:
    """The random numbers of one patient for one purpose, the same in any process and any order.

    Args:
        seed: of the whole phantom data set, 0 or larger.
        patient: number of the patient, 0 or larger.
        name: a key of `STREAMS`.
        index: of the reconstruction, where each needs numbers of its own.
    """
    return np.random.default_rng([seed, patient, STREAMS[name], index])
