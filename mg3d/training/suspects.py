"""Which patients may have made a loss NaN or infinite, to name them in the error."""

from typing import Any

import torch
from torch import Tensor


def patients_of(batch: Any) -> list[str]:
    """Names of patients of a batch whose tensors hold NaN or infinity; if none does, of all.

    Args:
        batch: anything with `patient_id`, a name per patient; its floating-point tensors of that
            many rows are searched.

    Returns names such as "train_12 (NaN or infinity in volume)"; empty for other batches.
    """
    names = getattr(batch, "patient_id", None)
    if not names:
        return []
    broken = {name: _broken_tensors(batch, row, len(names)) for row, name in enumerate(names)}
    found = [
        f"{name} (NaN or infinity in {', '.join(where)})" for name, where in broken.items() if where
    ]
    return found or list(broken)


def _broken_tensors(batch: Any, row: int, rows: int) -> list[str]:
    return [
        name
        for name, value in vars(batch).items()
        if isinstance(value, Tensor)
        and value.is_floating_point()
        and value.shape[:1] == (rows,)
        and not bool(torch.isfinite(value[row]).all())
    ]
