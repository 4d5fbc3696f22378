import pytest
import torch

from mg3d.training.losses import check_finite, weigh


def test_the_total_is_the_weighted_sum_and_a_loss_without_weight_is_left_out():
    terms = {"mim": torch.tensor(2.0), "clip": torch.tensor(3.0), "accuracy": torch.tensor(0.5)}
    assert weigh(terms, {"mim": 0.5, "ssm": 9.0, "clip": 10.0}) == 0.5 * 2 + 10 * 3


def test_weights_that_name_no_loss_are_refused():
    with pytest.raises(ValueError, match=r"no loss of bce has a weight \(weights are for bcee\)"):
        weigh({"bce": torch.tensor(1.0)}, {"bcee": 1.0})


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_broken_loss_is_named_with_its_step_and_the_way_back(value):
    with pytest.raises(FloatingPointError, match=r"mlm = (nan|inf) in step 7; .* go back there"):
        check_finite({"mim": 1.0, "mlm": value}, 7, lambda: "go back there")
    check_finite({"mim": 1.0}, 7, lambda: "go back there")
