import warnings

import numpy as np
import pytest
import torch
from monai.metrics import compute_dice, compute_hausdorff_distance, compute_surface_dice

from mg3d.evaluation.segmentation_metrics import (
    CaseScores,
    Outcome,
    score_case,
    score_labels,
    summarise_cases,
)

SPACING = (0.5, 1.0, 5.0)
EMPTY = np.zeros((12, 12, 12), dtype=bool)


def block(start, size=(4, 4, 4)):
    mask = EMPTY.copy()
    mask[tuple(slice(s, s + n) for s, n in zip(start, size, strict=True))] = True
    return mask


def score(prediction, reference, spacing=SPACING, tolerance=1.0, **settings):
    return score_case(prediction, reference, spacing, tolerance_mm=tolerance, **settings)


def test_a_perfect_prediction_scores_one_and_no_distance():
    found = score(block((3, 3, 3)), block((3, 3, 3)), tolerance=0.0)
    assert (found.dice, found.nsd, found.hd95_mm) == (1.0, 1.0, 0.0)
    assert found.outcome is Outcome.SCORED


def test_dice_by_hand_does_not_depend_on_spacing():
    # 64 voxels each, moved by one slice of four: 48 in common, 2 * 48 / 128.
    for spacing in (SPACING, (1.0, 1.0, 1.0)):
        assert score(block((3, 3, 4)), block((3, 3, 3)), spacing).dice == 0.75


@pytest.mark.parametrize(("axis", "mm"), [(0, 0.5), (1, 1.0), (2, 5.0)])
def test_one_voxel_along_an_axis_is_as_far_as_the_header_says(axis, mm):
    start = [3, 3, 3]
    start[axis] += 1
    found = score(block(start), block((3, 3, 3)))
    assert found.hd95_mm == pytest.approx(mm)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_nsd_forgives_what_is_within_the_tolerance_in_mm(axis):
    start = [3, 3, 3]
    start[axis] += 1
    exact = SPACING[axis]
    assert score(block(start), block((3, 3, 3)), tolerance=exact).nsd == 1.0
    assert score(block(start), block((3, 3, 3)), tolerance=0.99 * exact).nsd < 1.0


def test_nsd_of_two_single_voxels_far_apart_is_zero():
    assert score(block((1, 1, 1), (1, 1, 1)), block((9, 9, 9), (1, 1, 1))).nsd == 0.0


def test_hd95_leaves_out_the_farthest_twentieth_of_the_surface():
    reference = block((2, 2, 2), (8, 8, 1))  # 64 voxels, all of them surface
    near, far = reference.copy(), reference.copy()
    near[2, 2, 11] = True  # 1 of 65: left out
    far[2:7, 2, 11] = True  # 5 of 69, 7 %: not
    assert score(near, reference).hd95_mm == 0.0
    assert score(far, reference).hd95_mm == pytest.approx(45.0)


@pytest.mark.parametrize("corner", [0, 8])
def test_a_mask_at_the_border_of_the_grid_scores_as_one_inside(corner):
    at_border, inside = (
        score(block((start,) * 3, (3, 4, 4)), block((start,) * 3), tolerance=0.0)
        for start in (corner, 4)
    )
    assert at_border.nsd == pytest.approx(inside.nsd) and 0 < inside.nsd < 1
    assert at_border.hd95_mm == inside.hd95_mm == 0.5


def test_scores_equal_monais_own_calls():
    numbers = np.random.default_rng(0)
    masks = numbers.random((2, 12, 12, 12)) < 0.3
    masks[:, :2] = masks[:, -2:] = masks[:, :, :2] = masks[:, :, -2:] = False
    masks[..., :2] = masks[..., -2:] = False
    found = score(*masks, tolerance=0.7)
    pred, ref = (torch.from_numpy(mask)[None, None] for mask in masks)
    given = {"include_background": True, "spacing": list(SPACING)}
    nsd = compute_surface_dice(pred, ref, [0.7], use_subvoxels=True, **given)
    hd95 = compute_hausdorff_distance(pred, ref, percentile=95, **given)
    assert found.dice == pytest.approx(float(compute_dice(pred, ref)))
    assert found.nsd == pytest.approx(float(nsd)) and 0 < found.nsd < 1
    assert found.hd95_mm == pytest.approx(float(hd95)) and found.hd95_mm > 0


def test_a_missed_structure_scores_zero_and_the_diagonal_of_the_grid():
    found = score(EMPTY, block((3, 3, 3)))
    assert found.outcome is Outcome.EMPTY_PREDICTION
    assert (found.dice, found.nsd) == (0.0, 0.0)
    assert found.hd95_mm == pytest.approx(11 * (0.25 + 1 + 25) ** 0.5)


@pytest.mark.parametrize(
    ("prediction", "outcome", "dice", "hd95"),
    [(block((3, 3, 3)), Outcome.EMPTY_REFERENCE, 0.0, 56.3582), (EMPTY, Outcome.BOTH_EMPTY, 1, 0)],
)
def test_an_empty_reference_is_left_out_or_scored_as_the_caller_says(
    prediction, outcome, dice, hd95
):
    left_out = score(prediction, EMPTY)
    assert left_out.outcome is outcome
    assert np.isnan([left_out.dice, left_out.nsd, left_out.hd95_mm]).all()
    scored = score(prediction, EMPTY, empty_reference="score")
    assert (scored.dice, scored.nsd) == (dice, dice)
    assert scored.hd95_mm == pytest.approx(hd95, abs=1e-3)


def test_each_structure_of_a_label_map_is_scored_by_itself():
    reference = block((1, 1, 1)) * 1 + block((6, 6, 6)) * 3
    prediction = block((1, 1, 2)) * 1 + block((6, 6, 6)) * 3
    found = score_labels(
        prediction, reference, SPACING, structures={"a": 1, "b": 2, "c": 3}, tolerance_mm=1.0
    )
    assert [found[name].dice for name in ("a", "c")] == [0.75, 1.0]
    assert found["b"].outcome is Outcome.BOTH_EMPTY


def case(number, patient, value, outcome=Outcome.SCORED):
    return CaseScores(f"case {number}", patient, outcome, value, value, value)


def test_means_leave_out_undefined_cases_and_count_every_rule():
    cases = [
        case(0, "a", 0.5),
        case(1, "a", 1.0),
        case(2, "b", 0.0, Outcome.EMPTY_PREDICTION),
        case(3, "c", float("nan"), Outcome.EMPTY_REFERENCE),
        case(4, "d", float("nan"), Outcome.BOTH_EMPTY),
    ]
    found = summarise_cases(cases)
    assert found.dice.value == 0.5 and found.dice.n == 2
    assert found.left_out == 2
    assert found.cases == {
        "scored": 2,
        "empty prediction": 1,
        "empty reference": 1,
        "both empty": 1,
    }


def test_intervals_are_over_patients_not_cases():
    many = [case(n, "a" if n < 50 else "b", float(n < 50)) for n in range(100)]
    found = summarise_cases(many).dice
    assert (found.value, found.low, found.high, found.n) == (0.5, 0.0, 1.0, 2)


def test_all_cases_undefined_gives_nan_of_no_patient():
    found = summarise_cases([case(0, "a", float("nan"), Outcome.BOTH_EMPTY)])
    assert np.isnan(found.dice.value) and found.dice.n == 0 and found.left_out == 1


def test_a_case_that_comes_twice_is_refused_by_name():
    with pytest.raises(ValueError, match="case 'case 1' of patient 'a' came 2 times"):
        summarise_cases([case(1, "a", 0.5), case(1, "a", 0.5)])
    with pytest.raises(ValueError, match="at least one case"):
        summarise_cases([])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"prediction": EMPTY[1:]}, "case 'p1': the prediction must have the reference's shape"),
        ({"spacing": (1.0, 0.0, 1.0)}, "case 'p1': spacing_mm must be three lengths above 0"),
        ({"spacing": (1.0, 1.0)}, "case 'p1': spacing_mm"),
        ({"tolerance": float("nan")}, "case 'p1': tolerance_mm must be finite"),
    ],
)
def test_impossible_inputs_are_refused_with_the_case(change, message):
    given = {"prediction": block((3, 3, 3)), "reference": block((3, 3, 3))} | change
    with pytest.raises(ValueError, match=message):
        score(**given, case_id="p1")


def test_scoring_is_silent():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert score(block((3, 3, 4)), block((3, 3, 3))).dice > 0
