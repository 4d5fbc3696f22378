"""What the model is asked to do: one file, one objective, one lesson each."""

from torch import nn

from mg3d.objectives.clip import CLIP
from mg3d.objectives.cml import CML
from mg3d.objectives.dfa import DFA
from mg3d.objectives.mim import MIM
from mg3d.objectives.mlm import MLM
from mg3d.objectives.sfr import SFR
from mg3d.objectives.ssm import SSM

__all__ = ["OBJECTIVES"]

OBJECTIVES: dict[str, type[nn.Module]] = {
    "mim": MIM,
    "mlm": MLM,
    "sfr": SFR,
    "cml": CML,
    "dfa": DFA,
    "ssm": SSM,
    "clip": CLIP,
}
