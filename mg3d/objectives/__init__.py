"""What the model is trained to do: one file and one lesson per objective."""

from mg3d.objectives.clip import CLIP
from mg3d.objectives.cml import CML
from mg3d.objectives.dfa import DFA
from mg3d.objectives.mim import MIM
from mg3d.objectives.mlm import MLM
from mg3d.objectives.objective import Objective
from mg3d.objectives.sfr import SFR
from mg3d.objectives.ssm import SSM

__all__ = ["LABELS", "OBJECTIVES", "Objective"]

# Names are those of `LossWeights`. New ones go to the end: first weights are drawn by position.
OBJECTIVES: dict[str, type[Objective]] = {
    "mim": MIM,
    "mlm": MLM,
    "sfr": SFR,
    "cml": CML,
    "dfa": DFA,
    "ssm": SSM,
    "clip": CLIP,
}

LABELS = {name: kind.label for name, kind in OBJECTIVES.items()}  # for figures
