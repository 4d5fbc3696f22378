"""Gradient caching: a large batch through a module, holding the activations of a few rows only.

The rows go through the module in parts without being kept; in the backward pass each part is
computed again and its gradient is added. What follows, a contrastive loss over all rows included,
sees the whole batch, so that losses and gradients are those of the plain pass, for one forward pass
more. The module must treat each row by itself, as those do that normalise within a row, and draw no
random numbers.

Source: GradCache, Gao et al. 2021 (arXiv 2101.06983), here as one checkpoint for each part. Not in
MG-3D's paper or code.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils.checkpoint import checkpoint


def in_parts(
    function: Callable[[Tensor], Tensor],
    rows: Float[Tensor, "B ..."],
    size: int,
    *,
    recompute: bool = False,
) -> Float[Tensor, "B ..."]:
    """`function(rows)`, computed for `size` rows at a time.

    Args:
        function: treats each row by itself, and gives one row for each.
        rows: the batch.
        size: rows of a part; 0: all at once.
        recompute: keep no activations of a single part either.
    """
    parts = rows.split(size) if 0 < size < len(rows) else (rows,)
    if torch.is_grad_enabled() and (recompute or len(parts) > 1):
        done = [
            checkpoint(function, part, use_reentrant=False, preserve_rng_state=False)
            for part in parts
        ]
    else:
        done = [function(part) for part in parts]
    return torch.cat(done) if len(done) > 1 else done[0]
