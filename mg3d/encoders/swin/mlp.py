"""The second half of a transformer block: linear, GELU, linear, for each token on its own.

Source: Swin Transformer (arXiv 2103.14030), section 3.1; width ratio 4.
"""

from jaxtyping import Float
from torch import Tensor, nn


class MLP(nn.Module):
    """Linear, GELU, linear.

    Args:
        dim: channels.
        ratio: width inside, as a multiple of `dim`.
    """

    def __init__(self, dim: int, ratio: int = 4):
        super().__init__()
        self.linear1 = nn.Linear(dim, ratio * dim)
        self.act = nn.GELU()
        self.linear2 = nn.Linear(ratio * dim, dim)

    def forward(self, tokens: Float[Tensor, "B H W D c"]) -> Float[Tensor, "B H W D c"]:
        """Each token on its own."""
        return self.linear2(self.act(self.linear1(tokens)))
