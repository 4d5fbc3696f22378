import pytest
import torch
from torch import nn

from mg3d.weights.doctor import CheckpointError, Report, diagnose, fill

ABOUT = Report(source="a.pt", layout="by hand", target="a small net")


class Net(nn.Module):
    """Six, two and three numbers, a statistic, and a table it computes itself."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(3, 2)
        self.gain = nn.Parameter(torch.ones(3))
        self.register_buffer("mean", torch.zeros(1))
        self.register_buffer("table", torch.arange(4))


def good():
    tensors = {name: torch.rand_like(p) for name, p in Net().named_parameters()}
    return {**tensors, "mean": torch.full((1,), 5.0)}


def examine(tensors, min_share=0.95, model_key=lambda name: name, reason=lambda name: None):
    net = Net()
    about = Report("a.pt", "by hand", "a small net", min_share=min_share)
    return net, diagnose(tensors, net, model_key, reason=reason, about=about)


def refused(net, tensors, report):
    before = {name: value.clone() for name, value in net.state_dict().items()}
    with pytest.raises(CheckpointError) as error:
        fill(net, tensors, report)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert error.value.report is report
    return str(error.value)


def test_what_fits_is_put_in_place():
    tensors = good()
    net, report = examine(tensors)
    fill(net, tensors, report)
    assert all(torch.equal(net.state_dict()[name], value) for name, value in tensors.items())
    assert (report.share, report.missing, report.renamed) == (1.0, (), {})
    assert report.computed == ("table",)
    assert (report.parameters_filled, report.parameters) == (12, 12)


def test_too_little_is_refused_and_touches_nothing():
    tensors = {"gain": torch.zeros(3)}
    net, report = examine(tensors)
    assert set(report.missing) == {"first.weight", "first.bias", "mean"}
    assert "25.0% of the parameters are filled, at least 95.0%" in refused(net, tensors, report)
    net, report = examine(tensors, min_share=0.25)
    fill(net, tensors, report)
    assert net.gain.sum() == 0


def test_another_shape_is_refused_with_both_shapes_even_when_enough_is_filled():
    tensors = {**good(), "first.bias": torch.zeros(4)}
    net, report = examine(tensors, min_share=0.0)
    message = refused(net, tensors, report)
    assert "first.bias: [4] in the file, [2] in first.bias" in message


@pytest.mark.parametrize("spoilt", [float("nan"), float("inf"), -float("inf")])
def test_numbers_that_are_none_are_refused(spoilt):
    tensors = good()
    tensors["first.weight"][0, 0] = spoilt
    net, report = examine(tensors)
    assert report.not_finite == {"first.weight": 1}
    assert "NaN or infinite values, first first.weight" in refused(net, tensors, report)


def test_numbers_that_are_none_where_nobody_looks_are_only_named():
    tensors = {**good(), "other": torch.tensor([float("nan")])}
    net, report = examine(tensors)
    fill(net, tensors, report)
    assert report.not_finite == {"other": 1}
    assert "not finite" in str(report)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_another_precision_is_converted_and_said(dtype):
    tensors = {name: value.to(dtype) for name, value in good().items()}
    net, report = examine(tensors)
    fill(net, tensors, report)
    assert net.gain.dtype == torch.float32
    assert torch.equal(net.gain, tensors["gain"].float())
    assert f"{str(dtype)[6:]} -> float32" in str(report)


def test_whole_numbers_are_no_weights():
    tensors = {**good(), "gain": torch.ones(3, dtype=torch.int8)}
    net, report = examine(tensors)
    assert "gain (int8)" in refused(net, tensors, report)


def test_a_table_the_module_computes_must_be_the_same_one():
    tensors = {**good(), "table": torch.arange(4)}
    assert examine(tensors)[1].ignored == {"table": "equals what the module computes"}
    tensors["table"] = torch.tensor([0, 1, 3, 2])
    net, report = examine(tensors)
    assert "table (other values)" in refused(net, tensors, report)


def test_two_tensors_for_one_place_are_named():
    tensors = good()
    tensors = {**tensors, "teacher.gain": torch.zeros(3)}
    net, report = examine(tensors, model_key=lambda name: name.removeprefix("teacher."))
    assert report.ignored == {"teacher.gain": "a second tensor for gain, after gain"}
    fill(net, tensors, report)
    assert torch.equal(net.gain, tensors["gain"])


def test_no_name_is_left_without_a_fate():
    tensors = {
        **good(),
        "first.bias": torch.zeros(9),
        "decoder": torch.ones(1),
        "strange": torch.ones(1),
        "table": torch.arange(4),
    }
    del tensors["gain"]
    _, report = examine(tensors, reason=lambda name: "a decoder" if name == "decoder" else None)
    lines = list(report.fates())
    for name in tensors:
        assert sum(name == words.split(" ->")[0].split(":")[0] for _, words in lines) >= 1, name
    assert ("missing", "gain") in lines
    assert ("unexpected", "strange") in lines
    assert ("ignored", "decoder: a decoder") in lines


def test_the_report_is_read_in_one_glance():
    tensors = {f"old.{name}": value for name, value in good().items()}
    _, report = examine(tensors, model_key=lambda name: name.removeprefix("old."))
    assert str(report).splitlines() == [
        "file        a.pt",
        "layout      by hand",
        "target      a small net",
        "loaded      4 of 4 tensors, 12 of 12 parameters (100.0%)",
        "renamed     4: old.* -> * (4)",
        "computed    1: table",
        "verdict     accepted",
    ]


def test_many_names_are_counted_and_some_shown():
    tensors = {f"extra{i}": torch.ones(1) for i in range(20)}
    _, report = examine(tensors)
    assert "unexpected  20: extra0, extra1" in str(report)
    assert "and 14 more" in str(report)
    assert str(report).splitlines()[-1].startswith("verdict     0.0% of the parameters")
