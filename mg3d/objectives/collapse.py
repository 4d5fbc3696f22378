"""Collapse: are features the same for every input?

Identical features solve SFR, and nearly solve SSM. A loss near 0 means something only while
features differ, so the spread of their directions is reported beside the loss.

Source: own measure, from the mean resultant length of directional statistics.
"""

from jaxtyping import Float
from torch import Tensor

from mg3d.objectives.precision import unit_length


def feature_spread(features: Float[Tensor, "S k"]) -> Float[Tensor, ""]:
    """1 - length of the mean unit vector: 0 if all point the same way, 1 if they cancel out."""
    return 1 - unit_length(features).mean(dim=0).norm()
