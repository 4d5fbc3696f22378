"""Attention of a few windows at once: forward by a fused kernel, backward in closed form.

The fused kernel never writes the map down; for the gradients it is made again.

Source: Swin Transformer (arXiv 2103.14030), equation 4.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


def attend(
    query: Float[Tensor, "w heads n k"],
    key: Float[Tensor, "w heads n k"],
    value: Float[Tensor, "w heads n k"],
    bias: Float[Tensor, "heads n n"],
) -> Float[Tensor, "w heads n k"]:
    """softmax(query key^T / sqrt k + bias) value, without a map; not to be differentiated.

    In half precision the bias is rounded to it, as fused attention asks for.
    """
    return F.scaled_dot_product_attention(query, key, value, attn_mask=bias.to(query.dtype)[None])


def attention_map(
    query: Float[Tensor, "w heads n k"],
    key: Float[Tensor, "w heads n k"],
    bias: Float[Tensor, "heads n n"],
    *,
    scores: Float[Tensor, "w heads n n"] | None = None,
    out: Float[Tensor, "w heads n n"] | None = None,
) -> Float[Tensor, "w heads n n"]:
    """softmax(query key^T / sqrt k + bias): how much each token (row) takes from each other one.

    Args:
        query: of every head of every window.
        key: likewise.
        bias: of the scores, at least in single precision, as the map will be.
        scores: memory for what goes into the softmax.
        out: memory for the map.
    """
    windows, heads, n, k = query.shape
    if scores is None:
        scores = bias.new_empty(windows, heads, n, n)
    if query.dtype == bias.dtype:
        torch.baddbmm(
            bias.expand_as(scores).flatten(0, 1), query.flatten(0, 1), key.flatten(0, 1).mT,
            alpha=k**-0.5, out=scores.view(-1, n, n),
        )  # fmt: skip
    else:
        torch.add(bias, query @ key.mT, alpha=k**-0.5, out=scores)
    return torch.softmax(scores, -1, out=out)


def attention_gradients(
    grad: Float[Tensor, "w heads n k"],
    vectors: Float[Tensor, "3 w heads n k"],
    bias: Float[Tensor, "heads n n"],
    scratch: Float[Tensor, "2 w heads n n"],
) -> tuple[Float[Tensor, "3 w heads n k"], Float[Tensor, "heads n n"]]:
    """Gradients of query, key and value, and of the bias, in closed form.

    With P the map, dV = P^T dO; dP = dO V^T; dS = P * dP - P * rowsum(P * dP); dQ = dS K / sqrt k;
    dK = dS^T Q / sqrt k. The bias gets the sum of dS over the windows.

    Args:
        grad: dO, of what `attend` gave.
        vectors: query, key and value.
        bias: as in `attention_map`.
        scratch: memory for two maps, used for one piece after the other because it stays in the
            cache. The gradient of the bias may lie in it.
    """
    query, key, value = (v.flatten(0, 1) for v in vectors)
    attention_map(vectors[0], vectors[1], bias, scores=scratch[0], out=scratch[1])
    grad_scores, weights = scratch.flatten(1, 2)
    grad_values = grad.flatten(0, 1)

    grads = torch.empty_like(vectors)
    grad_query, grad_key, grad_value = grads.flatten(1, 2)
    torch.bmm(weights.to(grad_values.dtype).mT, grad_values, out=grad_value)
    _product(grad_values, value.mT, out=grad_scores)
    grad_scores.mul_(weights)
    grad_scores.addcmul_(weights, grad_scores.sum(-1, keepdim=True), value=-1)

    used = grad_scores.to(grad_values.dtype)
    torch.bmm(used, key, out=grad_query)
    torch.bmm(used.mT, query, out=grad_key)
    grads[:2].mul_(query.shape[-1] ** -0.5)
    return grads, scratch[0, 0] if len(grad) == 1 else scratch[0].sum(0)


def _product(
    left: Float[Tensor, "b n k"], right: Float[Tensor, "b k m"], out: Float[Tensor, "b n m"]
) -> None:
    """Into memory that may be of a wider number format."""
    if left.dtype == out.dtype:
        torch.bmm(left, right, out=out)
    else:
        out.copy_(torch.bmm(left, right))
