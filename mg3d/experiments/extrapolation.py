"""What a fitted power law says: losses at other sizes, and whether data or model is the bottleneck.

Nothing is said beyond the measured sizes where the runs cannot carry it: with too few sizes, or
with an exponent whose interval holds 0, the law has no known end.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from mg3d.experiments.power_law import FittedLaw, interval

ZERO_EXPONENT = 0.01  # below it, ten times the size takes away less than 2.3 % of a term


@dataclass(frozen=True)
class Prediction:
    """The law's loss at one size, with its 95 % interval; a single run scatters around it."""

    sizes: dict[str, float]
    loss: float
    low: float
    high: float
    unit: str
    times_beyond: float  # the largest ratio to a measured size; 1 inside the measured range

    def __str__(self) -> str:
        """As a sentence: '0.412 nats [0.401, 0.423] at 4,096 patients, 4 times beyond the runs'."""
        beyond = f", {self.times_beyond:.3g} times beyond the runs" if self.times_beyond > 1 else ""
        found = f"{self.loss:.4g} {self.unit} [{self.low:.4g}, {self.high:.4g}]"
        return f"{found} at {_in_words(self.sizes)}{beyond}"


@dataclass(frozen=True)
class Bottleneck:
    """Which axis costs more of the loss at one size."""

    sizes: dict[str, float]
    axis: str | None  # the one with the larger term; None where the draws do not decide
    terms: dict[str, tuple[float, float, float]]  # loss that each axis adds, with its interval
    share: float  # of the draws in which the first axis has the larger term
    unit: str

    def __str__(self) -> str:
        """As a sentence, with both terms."""
        terms = ", ".join(
            f"{name} {value:.3g} [{low:.3g}, {high:.3g}]"
            for name, (value, low, high) in self.terms.items()
        )
        found = f"{self.axis} are the bottleneck" if self.axis else "the runs do not decide which"
        first = next(iter(self.terms))
        return (
            f"at {_in_words(self.sizes)} {found}; loss that more would take away, {self.unit}: "
            f"{terms} (more of {first} in {self.share:.0%} of draws)"
        )


def predict(fitted: FittedLaw, sizes: Mapping[str, float]) -> Prediction:
    """The loss at one size, inside or beyond the measured ones.

    Args:
        fitted: law and draws.
        sizes: one number for each axis of the law, above 0.

    Raises:
        ValueError: if an axis is missing or unknown, or the size lies beyond the runs and they
            cannot carry an extrapolation.
    """
    size, times_beyond = _checked(fitted, sizes)
    loss, low, high = interval(
        float(fitted.law(size)[0]), [float(draw(size)[0]) for draw in fitted.draws]
    )
    return Prediction(dict(sizes), loss, low, high, fitted.unit, times_beyond)


def bottleneck(fitted: FittedLaw, sizes: Mapping[str, float]) -> Bottleneck:
    """Whether data or model costs more at one size: the larger term, with its uncertainty.

    The runs decide where one term is larger in at least 97.5 % of the draws.

    Args:
        fitted: joint law of two axes, and its draws.
        sizes: one number for each axis of the law, above 0.

    Raises:
        ValueError: as `predict`, or if the law has one axis only.
    """
    if len(fitted.axes) != 2:
        raise ValueError(
            f"a bottleneck is one of two, data or model, but this law knows {fitted.axes[0]} only; "
            "fit the joint law to runs that differ in both"
        )
    size, _ = _checked(fitted, sizes)
    value = fitted.law.terms(size)[0]
    drawn = np.stack([draw.terms(size)[0] for draw in fitted.draws])
    terms = {name: interval(value[k], drawn[:, k]) for k, name in enumerate(fitted.axes)}
    share = float((drawn[:, 0] > drawn[:, 1]).mean())
    larger = fitted.axes[int(value[1] > value[0])]
    decided = max(share, 1 - share) >= 0.975
    in_order = {name: sizes[name] for name in fitted.axes}
    return Bottleneck(in_order, larger if decided else None, terms, share, fitted.unit)


def refuse_to_extrapolate(fitted: FittedLaw) -> None:
    """Say why nothing may be said beyond the measured sizes, if so.

    Raises:
        ValueError: if there are fewer sizes than the law's parameters and one, or the interval of
            an exponent holds 0.
    """
    needed = 2 + 2 * len(fitted.axes)
    found = len(np.unique(fitted.sizes, axis=0))
    if found < needed:
        raise ValueError(
            f"extrapolating needs runs at {needed} different sizes, one more than the law has "
            f"parameters, but these have {found}; run more sizes, or stay inside the measured ones"
        )
    for axis in fitted.axes:
        value, low, high = fitted.exponent(axis)
        if low < ZERO_EXPONENT:
            raise ValueError(
                f"extrapolating needs an exponent that is surely above 0, but that of {axis} is "
                f"{value:.2f} with the interval [{low:.2f}, {high:.2f}], which holds 0: the loss "
                "may not fall any further; run more seeds or a wider range of sizes, or stay "
                "inside the measured ones"
            )


def _checked(
    fitted: FittedLaw, sizes: Mapping[str, float]
) -> tuple[Float[np.ndarray, "1 K"], float]:
    """The size as a row, and how many times beyond the measured ones it lies."""
    if set(sizes) != set(fitted.axes) or not all(
        np.isfinite(size) and size > 0 for size in sizes.values()
    ):
        raise ValueError(
            f"expected one number above 0 for each of {', '.join(fitted.axes)}, got {dict(sizes)}"
        )
    size = np.array([[float(sizes[name]) for name in fitted.axes]])
    above, below = size[0] / fitted.sizes.max(0), fitted.sizes.min(0) / size[0]
    times_beyond = max(1.0, float(above.max()), float(below.max()))
    if times_beyond > 1:
        refuse_to_extrapolate(fitted)
    return size, times_beyond


def _in_words(sizes: Mapping[str, float]) -> str:
    """'1,000,000 parameters and 512 patients'."""
    return " and ".join(f"{size:,.0f} {name}" for name, size in sizes.items())
