"""A fitted law as curves to be drawn: the loss along one axis, with its interval."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from mg3d.experiments.extrapolation import predict
from mg3d.experiments.power_law import FittedLaw

POINTS = 40


def law_curve(
    fitted: FittedLaw,
    along: str,
    up_to: float,
    *,
    at: Mapping[str, Mapping[str, float]] | None = None,
) -> Any:
    """The law along one axis, as a pandas DataFrame with `line`, `x`, `loss`, `low` and `high`.

    Where the runs cannot carry an extrapolation, the curves end with the measured sizes.

    Args:
        fitted: the law and its draws.
        along: the axis that grows.
        up_to: its largest size.
        at: name of each curve -> its sizes on the other axis; None: one curve named "law".

    Raises:
        ValueError: if the law has no such axis, or `at` lacks the other one.
    """
    import pandas as pd

    if along not in fitted.axes:
        raise ValueError(f"axis must be one of {', '.join(fitted.axes)}; got '{along}'")
    measured = fitted.sizes[:, fitted.axes.index(along)]
    inside = np.geomspace(measured.min(), measured.max(), POINTS)
    beyond = np.geomspace(measured.max(), max(up_to, measured.max()), POINTS)[1:]
    rows = []
    for line, other in (at or {"law": {}}).items():
        rows += [_row(fitted, line, {**other, along: float(x)}, along) for x in inside]
        if up_to > measured.max() and _carries(fitted, {**other, along: float(up_to)}):
            rows += [_row(fitted, line, {**other, along: float(x)}, along) for x in beyond]
    return pd.DataFrame(rows)


def _carries(fitted: FittedLaw, sizes: Mapping[str, float]) -> bool:
    try:
        predict(fitted, sizes)
    except ValueError:
        return False
    return True


def _row(fitted: FittedLaw, line: str, sizes: Mapping[str, float], along: str) -> dict[str, Any]:
    found = predict(fitted, sizes)
    return {
        **{"line": line, "x": sizes[along]},
        **{"loss": found.loss, "low": found.low, "high": found.high},
    }
