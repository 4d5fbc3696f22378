import numpy as np
import pytest

from mg3d.evaluation.per_patient import bootstrap_cases


def test_a_patient_is_drawn_with_all_cases():
    seen = []
    bootstrap_cases(lambda cases: seen.append(sorted(cases)) or 0.0, ["b", "a", "b"], draws=30)
    assert seen[-1] == [0, 1, 2]
    possible = [[1, 1], [0, 1, 2], [0, 0, 2, 2]]
    assert all(cases in possible for cases in seen)
    assert all(cases in seen for cases in possible)


def test_copies_of_a_case_do_not_narrow_the_interval():
    values = np.random.default_rng(0).normal(size=100)
    single = bootstrap_cases(lambda c: values[c].mean(), [str(i) for i in range(100)])
    tripled = np.repeat(values, 3)
    copies = bootstrap_cases(lambda c: tripled[c].mean(), [str(i // 3) for i in range(300)])
    assert copies.n == single.n == 100
    assert copies.high - copies.low == pytest.approx(single.high - single.low, rel=0.1)


def test_no_case_is_refused():
    with pytest.raises(ValueError, match="at least one case"):
        bootstrap_cases(lambda cases: 0.0, [])
