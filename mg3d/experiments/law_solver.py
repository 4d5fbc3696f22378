"""Solve a power law: from a grid of starts to the smallest Huber loss on log losses.

The law is E + sum over axes of a exp(-alpha x), with x the log of a size divided by the geometric
mean of the measured ones, so that its parameters hang together as little as they can. Parameters
are E, then every a, then every alpha; none is negative.
"""

from collections.abc import Sequence
from itertools import product

import numpy as np
from jaxtyping import Float

STARTS = (0.1, 0.25, 0.5, 1.0, 2.0)  # exponents tried on every axis
LARGEST_EXPONENT = 5.0


# The two functions below run thousands of times: their shapes are not checked on every call.
def log_loss(parameters: np.ndarray, log_sizes: np.ndarray) -> np.ndarray:
    """log(E + sum a exp(-alpha x)) at each point."""
    K = log_sizes.shape[1]
    return np.log(parameters[0] + np.exp(-parameters[1 + K :] * log_sizes) @ parameters[1 : 1 + K])


def slope(parameters: np.ndarray, log_sizes: np.ndarray) -> np.ndarray:
    """Derivative of `log_loss` by each parameter, one row per point."""
    K = log_sizes.shape[1]
    fall = np.exp(-parameters[1 + K :] * log_sizes)
    terms = parameters[1 : 1 + K] * fall
    columns = np.concatenate([np.ones((len(fall), 1)), fall, -terms * log_sizes], 1)
    return columns / (parameters[0] + terms.sum(1))[:, None]


def starts(
    log_sizes: Float[np.ndarray, "P K"], log_losses: Float[np.ndarray, " P"]
) -> list[Float[np.ndarray, " parameters"]]:
    """The best E and scales for every combination of `STARTS`, the best combination first."""
    from scipy.optimize import nnls

    loss = np.exp(log_losses)
    found = []
    for exponents in product(STARTS, repeat=log_sizes.shape[1]):
        fall = np.exp(-np.asarray(exponents) * log_sizes)
        columns = np.concatenate([np.ones((len(loss), 1)), fall], 1)
        linear, error = nnls(columns / loss[:, None], np.ones(len(loss)))
        found.append((error, np.concatenate([linear, exponents])))
    return [start for _, start in sorted(found, key=lambda item: item[0])]


def solve(
    log_sizes: Float[np.ndarray, "P K"],
    log_losses: Float[np.ndarray, " P"],
    begin: Sequence[Float[np.ndarray, " parameters"]],
    width: float,
) -> Float[np.ndarray, " parameters"]:
    """The parameters with the smallest Huber loss that any start leads to."""
    from scipy.optimize import least_squares

    K = log_sizes.shape[1]
    low = np.full(1 + 2 * K, 1e-9)
    high = np.array([np.inf] * (1 + K) + [LARGEST_EXPONENT] * K)
    tried = [
        least_squares(
            lambda parameters: log_loss(parameters, log_sizes) - log_losses,
            np.clip(start, low + 1e-6, high - 1e-6),
            jac=lambda parameters: slope(parameters, log_sizes),
            bounds=(low, high),
            loss="huber",
            f_scale=width,
            x_scale="jac",
            ftol=1e-7,
            xtol=1e-7,
            max_nfev=60,  # along a valley of equally good laws more steps change nothing
        )
        for start in begin
    ]
    return min(tried, key=lambda solution: solution.cost).x
