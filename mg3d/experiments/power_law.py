"""Saturating power laws: how a loss falls with data and model size, and how surely.

One size: L(n) = E + A n^-alpha. Model and data: L(N, D) = E + A N^-alpha + B D^-beta. E is the loss
that no size removes, each other term what a larger model or more data would still remove.

Source: Hoffmann et al. 2022 (arXiv 2203.15556), approach 3 (section 3.3): the joint law, and its
fit by a Huber loss on the difference of log losses from a grid of starts, with their width 1e-3.
Other than there, the Huber width grows with the noise of the points (1.345 times the robust spread
of the residuals, the usual choice), the starts solve E, A and B for given exponents, and scipy's
trust-region least squares takes the place of L-BFGS.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from mg3d.experiments.law_solver import log_loss, solve, starts

HUBER_WIDTH = 1e-3  # at least, on log losses
NO_FALL = 1e-6  # share of the loss; a term that falls by less has no exponent


@dataclass(frozen=True)
class PowerLaw:
    """One law; its sizes are in the order of the axes it was fitted with."""

    floor: float  # E, in the loss's unit
    scales: tuple[float, ...]  # A, B: a term's loss at size 1
    exponents: tuple[float, ...]  # alpha, beta; 0 where the term does not fall

    def terms(self, sizes: Float[np.ndarray, "P K"]) -> Float[np.ndarray, "P K"]:
        """What each axis adds to the loss."""
        return np.asarray(self.scales) * sizes ** -np.asarray(self.exponents)

    def __call__(self, sizes: Float[np.ndarray, "P K"]) -> Float[np.ndarray, " P"]:
        """Loss at each size."""
        return self.floor + self.terms(sizes).sum(1)


@dataclass(frozen=True)
class FittedLaw:
    """The law of a set of runs, with bootstrap draws of it."""

    axes: tuple[str, ...]  # what is counted on each axis: "patients", "parameters"
    unit: str  # of the loss
    law: PowerLaw
    draws: tuple[PowerLaw, ...]
    sizes: Float[np.ndarray, "P K"]
    losses: Float[np.ndarray, " P"]

    def exponent(self, axis: str) -> tuple[float, float, float]:
        """The exponent on one axis and its 95 % interval.

        Raises:
            ValueError: if there is no such axis.
        """
        if axis not in self.axes:
            raise ValueError(f"axis must be one of {', '.join(self.axes)}; got '{axis}'")
        k = self.axes.index(axis)
        return interval(self.law.exponents[k], [draw.exponents[k] for draw in self.draws])

    def floor(self) -> tuple[float, float, float]:
        """E, in the loss's unit, and its 95 % interval."""
        return interval(self.law.floor, [draw.floor for draw in self.draws])


def fit_power_law(
    sizes: Mapping[str, Collection[float]],
    losses: Collection[float],
    *,
    unit: str,
    draws: int = 500,
    seed: int = 0,
) -> FittedLaw:
    """Fit the law of one axis, or the joint law of two, to finished runs.

    The interval is a bootstrap of the points: residuals of log losses, made wider for the
    parameters that the fit used up and for few runs, are drawn with replacement and added to the
    law. Every seed's run is one point; average nothing beforehand.

    Args:
        sizes: by the name of what is counted, one number per run: `{"patients": [128, 512, ...]}`.
        losses: held-out loss of each run, above 0; of a score take the error (1 - AUROC).
        unit: of the loss, in words: "nats", "cosine distance".
        draws: number of bootstrap draws.
        seed: of the draws. The order of the points changes nothing.

    Raises:
        ValueError: if numbers are missing, not above 0, or fewer than the law's parameters need.
    """
    axes = tuple(sizes)
    points = _checked(sizes, losses)
    points = points[np.lexsort(points.T[::-1])]  # drawing must not depend on the order of runs
    x, y = points[:, :-1], points[:, -1]
    center, level = np.exp(np.log(x).mean(0)), float(np.median(y))
    log_sizes, log_losses = np.log(x / center), np.log(y / level)

    first = solve(log_sizes, log_losses, starts(log_sizes, log_losses)[:8], HUBER_WIDTH)
    residual = log_losses - log_loss(first, log_sizes)
    width = max(HUBER_WIDTH, 1.345 * 1.4826 * float(np.median(np.abs(residual))))
    best = solve(log_sizes, log_losses, [first, *starts(log_sizes, log_losses)[:8]], width)

    fitted = log_loss(best, log_sizes)
    residual = log_losses - fitted
    residual = (residual - residual.mean()) * _widening(len(y), len(best))
    generator = np.random.default_rng(seed)
    drawn = []
    for _ in range(draws):
        moved = fitted + generator.choice(residual, len(residual))
        near = [best, *starts(log_sizes, moved)[:1]]
        drawn.append(_law(solve(log_sizes, moved, near, width), center, level, log_sizes))
    law = _law(best, center, level, log_sizes)
    return FittedLaw(axes, unit, law, tuple(drawn), x, y)


def interval(value: float, drawn: Collection[float]) -> tuple[float, float, float]:
    """A value with the 2.5 % and 97.5 % quantiles of its draws."""
    low, high = np.quantile(np.asarray(drawn), (0.025, 0.975))
    return float(value), float(low), float(high)


def _widening(runs: int, parameters: int) -> float:
    """What residuals lack: degrees of freedom, and the wider tails (Student's t) of few runs."""
    from scipy.stats import norm, t

    left = runs - parameters
    return float(np.sqrt(runs / left) * t.ppf(0.975, left) / norm.ppf(0.975))


def _checked(
    sizes: Mapping[str, Collection[float]], losses: Collection[float]
) -> Float[np.ndarray, "P columns"]:
    """Sizes and losses as columns, after every check of them."""
    if len(sizes) not in (1, 2):
        raise ValueError(
            f"expected the sizes of one axis (data) or two (model, data), got {len(sizes)}"
        )
    columns = {
        name: np.asarray(list(column), dtype=float)
        for name, column in {**sizes, "losses": losses}.items()
    }
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"expected one number per run in every column, got {lengths}")
    for name, column in columns.items():
        bad = int((~(np.isfinite(column) & (column > 0))).sum())
        if bad:
            raise ValueError(
                f"'{name}' must be finite and above 0, but {bad} of {len(column)} are not; leave "
                "out runs without a result, and take the error of a score (1 - AUROC)"
            )
    points = np.stack(list(columns.values()), 1)
    parameters = 1 + 2 * len(sizes)
    if len(points) <= parameters or len(np.unique(points[:, :-1], axis=0)) < parameters:
        raise ValueError(
            f"a law with {parameters} parameters needs at least {parameters + 1} runs at "
            f"{parameters} different sizes, got {len(points)} at "
            f"{len(np.unique(points[:, :-1], axis=0))}; run more sizes"
        )
    for name, column in zip(sizes, points.T, strict=False):
        if len(np.unique(column)) < 3:
            raise ValueError(
                f"a saturating power law needs at least 3 different numbers of {name}, got "
                f"{len(np.unique(column))}; run more sizes of it"
            )
    return points


def _law(
    parameters: Float[np.ndarray, " parameters"],
    center: Float[np.ndarray, " K"],
    level: float,
    log_sizes: Float[np.ndarray, "P K"],
) -> PowerLaw:
    """In units of the sizes and losses; what does not fall over the points belongs to E."""
    K = len(center)
    floor, scales, exponents = parameters[0], parameters[1 : 1 + K], parameters[1 + K :]
    ends = scales * np.exp(-exponents * np.stack([log_sizes.min(0), log_sizes.max(0)]))
    falls = ends[0] - ends[1] > NO_FALL
    floor = floor + scales[~falls].sum() * (exponents[~falls] < NO_FALL).all()
    exponents = np.where(falls, exponents, 0.0)
    scales = np.where(falls, scales * center**exponents, 0.0)
    return PowerLaw(
        float(level * floor), tuple((level * scales).tolist()), tuple(exponents.tolist())
    )
