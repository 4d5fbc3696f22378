"""Evaluation mode for a while: every layer is given back in the mode it was in.

Training and evaluation mode differ in dropout, in batch normalisation and in heads that centre by
the batch. `module.train()` afterwards would also switch on layers that were frozen on purpose, so
each layer's own mode is remembered.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Put a module in evaluation mode inside the block; gradients are left as they are.

    Args:
        module: with all its layers.

    Example:
        with evaluating(model), torch.no_grad():
            features = model(batch)
    """
    training = [layer for layer in module.modules() if layer.training]
    module.eval()
    try:
        yield
    finally:
        for layer in training:
            layer.training = True
