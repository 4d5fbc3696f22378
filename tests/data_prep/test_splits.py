from collections import Counter

import pytest

from data_prep.splits import deal_folds, hold_out

PATIENTS = [f"train_{number}" for number in range(2000)]


def test_about_the_fraction_asked_for_is_held_out():
    assert 160 < len(hold_out(PATIENTS, 0.1, 0)) < 240


def test_nobody_changes_sides_when_more_patients_come():
    some = hold_out(PATIENTS[:500], 0.1, 0)
    assert some == hold_out(PATIENTS, 0.1, 0) & set(PATIENTS[:500])
    assert hold_out(reversed(PATIENTS), 0.1, 0) == hold_out(PATIENTS, 0.1, 0)


def test_a_larger_fraction_keeps_those_held_out_and_another_seed_takes_others():
    assert hold_out(PATIENTS, 0.1, 0) < hold_out(PATIENTS, 0.2, 0)
    assert len(hold_out(PATIENTS, 0.1, 0) & hold_out(PATIENTS, 0.1, 1)) < 60


def test_an_empty_side_is_refused():
    for fraction in (0, 1, -1, float("nan")):
        with pytest.raises(ValueError, match="between 0 and 1"):
            hold_out(PATIENTS, fraction, 0)
    with pytest.raises(ValueError, match=r"hold out 0 of 1 patients.*another fraction or seed"):
        hold_out(["train_1"], 0.01, 0)
    assert hold_out(["train_1"], 0.01, 0, may_be_empty=True) == set()


def test_folds_are_of_equal_size_in_every_stratum():
    stratum = {
        patient: (number % 3 == 0, number % 50 == 0) for number, patient in enumerate(PATIENTS)
    }
    fold = deal_folds(stratum, 5, 0)
    assert set(Counter(fold.values()).values()) == {400}
    for value in set(stratum.values()):
        counts = Counter(fold[p] for p in PATIENTS if stratum[p] == value)
        assert max(counts.values()) - min(counts.values()) <= 1
    assert fold == deal_folds(dict(reversed(stratum.items())), 5, 0)
    assert fold != deal_folds(stratum, 5, 1)


def test_too_few_patients_or_folds_are_refused():
    for folds, patients in ((1, 10), (5, 4)):
        with pytest.raises(ValueError, match=f"{folds} folds of {patients} patients"):
            deal_folds({str(n): 0 for n in range(patients)}, folds, 0)
