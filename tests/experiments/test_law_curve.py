import numpy as np
import pytest

from mg3d.experiments.extrapolation import predict
from mg3d.experiments.law_curve import POINTS, law_curve
from mg3d.experiments.power_law import fit_power_law

N, D = (c.ravel() for c in np.meshgrid([1e4, 1e5, 1e6], [64.0, 256, 1024, 4096]))


def fit(noise):
    losses = 0.5 + 40 * N**-0.4 + 3 * D**-0.5
    losses *= np.exp(np.random.default_rng(0).normal(0, noise, len(losses)))
    return fit_power_law({"parameters": N, "patients": D}, losses, unit="nats", draws=40)


@pytest.fixture(scope="module")
def sure():
    return fit(0.002)


def test_a_curve_is_the_law_with_its_interval_and_goes_as_far_as_asked(sure):
    at = {"small": {"parameters": 1e4}, "large": {"parameters": 1e6}}
    curve = law_curve(sure, "patients", 65_536, at=at)
    assert curve["line"].value_counts().to_dict() == dict.fromkeys(at, 2 * POINTS - 1)
    for name, other in at.items():
        part = curve[curve["line"] == name]
        assert (part["x"].min(), part["x"].max()) == (64, 65_536)
        assert part["x"].is_monotonic_increasing and part["loss"].is_monotonic_decreasing
        last, found = part.iloc[-1], predict(sure, {**other, "patients": 65_536})
        assert (last["loss"], last["low"], last["high"]) == (found.loss, found.low, found.high)


def test_it_ends_with_the_runs_where_they_cannot_carry_more():
    curve = law_curve(fit(1.0), "patients", 65_536, at={"small": {"parameters": 1e4}})
    assert (len(curve), curve["x"].max()) == (POINTS, 4_096)


def test_an_axis_that_is_not_the_laws_is_refused(sure):
    with pytest.raises(ValueError, match="one of parameters, patients; got 'steps'"):
        law_curve(sure, "steps", 10)
    with pytest.raises(ValueError, match="one number above 0 for each of parameters, patients"):
        law_curve(sure, "patients", 65_536)
