"""Collapse: have features become the same for everything, whatever they are asked about?

SFR can be solved by a constant, SSM by features that only know the words. A loss near 0 means
something only while features stay spread out.

Source: own measure; the resultant length of directional statistics.
"""

from jaxtyping import Float
from torch import Tensor

from mg3d.objectives.precision import unit_length


def feature_spread(features: Float[Tensor, "S k"]) -> Float[Tensor, ""]:
    """1 - length of the mean unit vector: 0 if all point the same way, 1 if they cancel out."""
    return 1 - unit_length(features).mean(dim=0).norm()
