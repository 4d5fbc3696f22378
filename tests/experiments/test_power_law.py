import numpy as np
import pytest

from mg3d.experiments.power_law import fit_power_law, interval

PATIENTS = np.repeat(64 * 2.0 ** np.arange(0, 10, 2), 3)  # five sizes, three seeds each
GRID = [column.ravel() for column in np.meshgrid(
    [1e4, 1e5, 1e6, 1e7], 64 * 2.0 ** np.arange(0, 10, 2), [0, 0]
)]  # fmt: skip


def noisy(losses, seed, noise=0.01):
    """Losses of runs whose seeds scatter by 1 %."""
    return losses * np.exp(np.random.default_rng(seed).normal(0, noise, len(losses)))


def falling(noise=0.01):
    return noisy(0.5 + 3 * PATIENTS**-0.5, 0, noise)


def at(law, *size):
    return law(np.array([size]))[0]


@pytest.mark.thorough
def test_intervals_cover_a_planted_law_of_data():
    covered = np.zeros(3, int)
    for seed in range(40):
        draw = np.random.default_rng([seed, 1]).uniform
        E, A, alpha = (draw(*ends) for ends in [(0.2, 1), (1, 5), (0.25, 0.8)])
        losses = noisy(E + A * PATIENTS**-alpha, seed)
        fitted = fit_power_law({"patients": PATIENTS}, losses, unit="nats", draws=100)
        far = 8 * PATIENTS.max()
        loss = interval(at(fitted.law, far), [at(law, far) for law in fitted.draws])
        truths = [
            *[(alpha, fitted.exponent("patients")), (E, fitted.floor())],
            (E + A * far**-alpha, loss),
        ]
        covered += [low <= truth <= high for truth, (_, low, high) in truths]
    assert (covered >= 33).all(), covered


@pytest.mark.thorough
def test_intervals_cover_a_planted_law_of_model_and_data():
    covered = np.zeros(4, int)
    N, D, _ = GRID
    for seed in range(40):
        draw = np.random.default_rng([seed, 2]).uniform
        E, A, alpha, B, beta = (
            draw(*ends) for ends in [(0.2, 1), (20, 80), (0.3, 0.5), (1, 5), (0.25, 0.7)]
        )
        losses = noisy(E + A * N**-alpha + B * D**-beta, seed)
        fitted = fit_power_law({"parameters": N, "patients": D}, losses, unit="nats", draws=80)
        far = 1e8, 8 * D.max()
        loss = interval(at(fitted.law, *far), [at(law, *far) for law in fitted.draws])
        truths = [
            *[(alpha, fitted.exponent("parameters")), (beta, fitted.exponent("patients"))],
            *[(E, fitted.floor()), (E + A * far[0] ** -alpha + B * far[1] ** -beta, loss)],
        ]
        covered += [low <= truth <= high for truth, (_, low, high) in truths]
    assert (covered >= 33).all(), covered


def test_without_noise_the_joint_law_is_found_exactly():
    N, D, _ = GRID
    losses = 0.5 + 40 * N**-0.4 + 3 * D**-0.3
    law = fit_power_law({"parameters": N, "patients": D}, losses, unit="nats", draws=1).law
    assert law.floor == pytest.approx(0.5, rel=1e-3)
    assert law.scales == pytest.approx((40, 3), rel=1e-2)
    assert law.exponents == pytest.approx((0.4, 0.3), rel=1e-3)


def test_intervals_are_wide_enough_to_hold_noise_and_not_wider_without_reason():
    widths = []
    for noise in (0.002, 0.02):
        losses = falling(noise)
        _, low, high = fit_power_law(
            {"patients": PATIENTS}, losses, unit="nats", draws=100
        ).exponent("patients")
        widths.append(high - low)
    assert 4 < widths[1] / widths[0] < 30  # ten times the noise


def test_one_failed_run_moves_the_law_little():
    losses = falling(0.003)
    whole = fit_power_law({"patients": PATIENTS}, losses, unit="nats", draws=1).law
    losses[7] *= 2
    broken = fit_power_law({"patients": PATIENTS}, losses, unit="nats", draws=1).law
    assert broken.exponents == pytest.approx(whole.exponents, rel=0.1)
    assert broken.floor == pytest.approx(whole.floor, rel=0.02)


def test_the_order_of_runs_changes_nothing():
    losses = falling()
    order = np.random.default_rng(1).permutation(len(losses))
    one = fit_power_law({"patients": PATIENTS}, losses, unit="nats", draws=20)
    other = fit_power_law({"patients": PATIENTS[order]}, losses[order], unit="nats", draws=20)
    assert one.law == other.law and one.draws == other.draws


def test_the_unit_of_sizes_and_losses_only_scales_the_law():
    losses = falling()
    one = fit_power_law({"patients": PATIENTS}, losses, unit="nats", draws=20)
    other = fit_power_law({"thousands": PATIENTS / 1e3}, losses * 7, unit="sevenths", draws=20)
    assert other.exponent("thousands") == pytest.approx(one.exponent("patients"), rel=1e-3)
    assert other.floor() == pytest.approx([7 * end for end in one.floor()], rel=1e-3)


def test_a_loss_that_does_not_fall_has_exponent_zero():
    law = fit_power_law({"patients": PATIENTS}, 0.5 + PATIENTS / 1e5, unit="nats", draws=1).law
    assert law.exponents == (0,) and law.scales == (0,)
    assert 0.5 < law.floor < 0.7


@pytest.mark.parametrize(
    ("sizes", "losses", "message"),
    [
        ({"patients": [1, 2, 4]}, [3, 2, 1], "at least 4 runs at 3 different sizes, got 3 at 3"),
        ({"patients": [1, 1, 2, 2]}, [3, 3, 2, 2], "3 different sizes, got 4 at 2; run more"),
        (
            {"parameters": [1, 2] * 4, "patients": [1, 1, 2, 2, 3, 3, 4, 4]},
            [8, 7, 6, 5, 4, 3, 2, 1],
            "at least 3 different numbers of parameters, got 2; run more",
        ),
        ({"patients": [1, 2, 4, 8]}, [3, 2, 1], "one number per run.*'patients': 4, 'losses': 3"),
        ({"patients": [1, 2, 4, 8]}, [3, 2, 1, float("nan")], "'losses'.*1 of 4 are not; leave"),
        ({"patients": [0, 2, 4, 8]}, [3, 2, 1, 1], "'patients' must be finite and above 0"),
        ({}, [1], r"one axis \(data\) or two"),
    ],
)
def test_runs_that_cannot_carry_a_law_are_refused_with_the_way_out(sizes, losses, message):
    with pytest.raises(ValueError, match=message):
        fit_power_law(sizes, losses, unit="nats")


def test_an_unknown_axis_is_refused_with_the_known_ones():
    fitted = fit_power_law({"patients": [1, 2, 4, 8]}, [4, 3, 2, 1], unit="nats", draws=1)
    with pytest.raises(ValueError, match="one of patients; got 'volumes'"):
        fitted.exponent("volumes")
