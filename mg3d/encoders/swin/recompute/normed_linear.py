"""A linear layer behind a normalisation, piece by piece, its gradients added up on the way.

Attention and MLP of a transformer block both begin with it.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def compute_dtype(tokens: Tensor) -> torch.dtype:
    """The number format of products: autocast's inside an autocast block, else the tokens' own."""
    device = tokens.device.type
    if torch.is_autocast_enabled(device) and tokens.dtype != torch.float64:
        return torch.get_autocast_dtype(device)
    return tokens.dtype


class LinearGradient:
    """Gradients of a linear layer's weight and bias, added up in at least single precision.

    Args:
        weight: the layer's.
    """

    def __init__(self, weight: Float[Tensor, "k c"]):
        dtype = torch.promote_types(weight.dtype, torch.float32)
        self.weight = torch.zeros_like(weight, dtype=dtype)
        self.bias = torch.zeros_like(self.weight[:, 0])

    def add(self, rows: Float[Tensor, "r c"], grad: Float[Tensor, "r k"]) -> None:
        """Add the share of these rows, given the gradient of what the layer made of them."""
        if grad.dtype == self.weight.dtype:
            self.weight.addmm_(grad.T, rows)
        else:
            self.weight.add_(grad.T @ rows)
        self.bias.add_(grad.sum(0, dtype=self.bias.dtype))


class NormedLinear:
    """linear(layer_norm(rows)) and its gradients, piece by piece.

    Args:
        parameters: gain and offset of the normalisation, weight and bias of the linear layer.
        dtype: number format of the product.
        eps: of the normalisation.
    """

    def __init__(self, parameters: Sequence[Tensor], dtype: torch.dtype, eps: float):
        self.gain, self.offset, self.weight, self.bias = (p.detach() for p in parameters)
        self.dtype, self.eps = dtype, eps
        self.used_weight, self.used_bias = self.weight.to(dtype), self.bias.to(dtype)

    def forward(
        self, rows: Float[Tensor, "r c"], outside: Bool[Tensor, " r"] | None = None
    ) -> Float[Tensor, "r k"]:
        """What becomes of these rows; a row outside counts as zero behind the normalisation."""
        self.outside = outside
        self.rows = rows.to(self.gain.dtype)
        normed, self.mean, self.scale = torch.native_layer_norm(
            self.rows, self.gain.shape, self.gain, self.offset, self.eps
        )
        if outside is not None:
            normed.masked_fill_(outside[:, None], 0)
        self.normed = normed.to(self.dtype)
        return torch.addmm(self.used_bias, self.normed, self.used_weight.T)

    def start_gradients(self) -> None:
        """Make room for the gradients of the parameters, zero."""
        self.linear = LinearGradient(self.weight)
        dtype = self.linear.weight.dtype
        self.grad_gain = torch.zeros_like(self.gain, dtype=dtype)
        self.grad_offset = torch.zeros_like(self.grad_gain)

    def backward(self, grad: Float[Tensor, "r k"]) -> Float[Tensor, "r c"]:
        """Gradient of the rows of the last `forward`; adds up those of the parameters."""
        self.linear.add(self.normed, grad)
        grad_normed = (grad @ self.used_weight).to(self.gain.dtype)
        if self.outside is not None:
            grad_normed.masked_fill_(self.outside[:, None], 0)
        grad_rows, gain, offset = torch.ops.aten.native_layer_norm_backward(
            grad_normed, self.rows, self.gain.shape, self.mean, self.scale,
            self.gain, self.offset, (True, True, True),
        )  # fmt: skip
        self.grad_gain.add_(gain)
        self.grad_offset.add_(offset)
        return grad_rows

    def gradients(self) -> tuple[Tensor, ...]:
        """Those of the parameters, in their order and number format."""
        gradients = (self.grad_gain, self.grad_offset, self.linear.weight, self.linear.bias)
        parameters = (self.gain, self.offset, self.weight, self.bias)
        return tuple(g.to(p.dtype) for g, p in zip(gradients, parameters, strict=True))
