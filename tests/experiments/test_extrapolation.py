import numpy as np
import pytest

from mg3d.experiments.extrapolation import bottleneck, predict
from mg3d.experiments.power_law import fit_power_law

PATIENTS = np.repeat([64.0, 256, 1024, 4096, 16384], 3)
N, D, _ = (c.ravel() for c in np.meshgrid([1e4, 1e5, 1e6], [64.0, 256, 1024, 4096], [0, 0]))


def of_data(losses, patients=PATIENTS, noise=0.003, seed=0):
    scatter = np.exp(np.random.default_rng(seed).normal(0, noise, len(patients)))
    return fit_power_law({"patients": patients}, losses * scatter, unit="nats", draws=100)


@pytest.fixture(scope="module")
def falling():
    return of_data(0.5 + 3 * PATIENTS**-0.5)


@pytest.fixture(scope="module")
def joint():
    losses = 0.5 + 40 * N**-0.4 + 3 * D**-0.5
    losses *= np.exp(np.random.default_rng(0).normal(0, 0.002, len(losses)))
    return fit_power_law({"parameters": N, "patients": D}, losses, unit="nats", draws=100)


def test_an_extrapolation_says_how_far_it_goes_and_how_sure_it_is(falling):
    found = predict(falling, {"patients": 65536})
    assert found.loss == pytest.approx(0.5 + 3 * 65536**-0.5, rel=0.01)
    assert found.low < found.loss < found.high
    assert found.times_beyond == 4
    assert str(found).endswith("] at 65,536 patients, 4 times beyond the runs")
    assert f"{found.loss:.4g} nats [" in str(found)


def test_smaller_sizes_than_measured_are_an_extrapolation_too(falling):
    assert predict(falling, {"patients": 32}).times_beyond == 2


def test_uncertainty_grows_beyond_the_runs(falling):
    inside, near, far = (predict(falling, {"patients": n}) for n in (1024, 2, 0.25))
    assert inside.times_beyond == 1 and "beyond" not in str(inside)
    widths = [found.high - found.low for found in (inside, near, far)]
    assert widths[0] < widths[1] < widths[2]


def test_too_few_sizes_are_refused_beyond_the_runs_only():
    patients = np.repeat([64.0, 256, 1024], 3)
    fitted = of_data(0.5 + 3 * patients**-0.5, patients)
    assert predict(fitted, {"patients": 512}).loss == pytest.approx(0.633, abs=0.02)
    with pytest.raises(ValueError, match=r"needs runs at 4 different sizes.*have 3; run more"):
        predict(fitted, {"patients": 2048})


@pytest.mark.parametrize("seed", range(5))
def test_an_exponent_whose_interval_holds_zero_is_refused_with_the_way_out(seed):
    flat = of_data(np.full(len(PATIENTS), 0.7), noise=0.01, seed=seed)
    assert predict(flat, {"patients": 512}).loss == pytest.approx(0.7, abs=0.02)
    with pytest.raises(ValueError, match=r"that of patients.*holds 0.*more seeds"):
        predict(flat, {"patients": 10**6})


@pytest.mark.parametrize("sizes", [{}, {"volumes": 3}, {"patients": 0}, {"patients": 1, "x": 1}])
def test_a_size_must_name_every_axis_once(falling, sizes):
    with pytest.raises(ValueError, match="one number above 0 for each of patients, got"):
        predict(falling, sizes)


@pytest.mark.parametrize(
    ("parameters", "patients", "axis"),
    [
        (1e6, 64, "patients"),  # 0.16 nats for the model, 0.38 for the data
        (1e4, 4096, "parameters"),  # 1.00 and 0.05
    ],
)
def test_the_larger_term_is_the_bottleneck(joint, parameters, patients, axis):
    found = bottleneck(joint, {"patients": patients, "parameters": parameters})
    assert found.axis == axis
    truths = {"parameters": 40 * parameters**-0.4, "patients": 3 * patients**-0.5}
    for name, (value, low, high) in found.terms.items():
        assert low <= truths[name] <= high and low <= value <= high
    assert f"{axis} are the bottleneck; loss that more would take away, nats: " in str(found)
    assert f"{parameters:,.0f} parameters and {patients:,.0f} patients" in str(found)


def test_equal_terms_are_left_undecided(joint):
    parameters = (40 / (3 * 256**-0.5)) ** 2.5  # where both terms are 0.19 nats
    found = bottleneck(joint, {"parameters": parameters, "patients": 256})
    assert found.axis is None and 0.025 < found.share < 0.975
    assert "the runs do not decide which" in str(found)


def test_a_bottleneck_needs_two_axes(falling):
    with pytest.raises(ValueError, match="knows patients only; fit the joint law"):
        bottleneck(falling, {"patients": 512})
