from dataclasses import dataclass

import numpy as np
import pytest
import torch

from mg3d.exercises import check, judge


@dataclass(frozen=True)
class Pair:
    left: torch.Tensor
    right: float


def double(x):
    return 2 * x


def raises(x):
    raise KeyError("oops")


class Strange:
    def __eq__(self, other):
        raise RuntimeError("no comparison")

    __hash__ = None


X = torch.tensor([1.0, 2.0])


@pytest.mark.parametrize(
    ("attempt", "says"),
    [
        (lambda x: ..., "○ not attempted yet"),
        (lambda x: (x, ...), "○ not attempted yet"),
        (lambda x: x + x, "✓ correct"),
        (lambda x: (x + x).double().numpy(), "✓ correct"),
        (lambda x: (x + x).requires_grad_(), "✓ correct"),
        (lambda x: x.mul_(2), "✓ correct"),
        (lambda x: x, "✗ right shape, but 2 of 2 values are off, by up to 2"),
        (lambda x: x / 0, "✗ right shape, but 2 of 2 values are wrong, some not finite"),
        (lambda x: x.sum(), "✗ expected shape (2,), got ()"),
        (lambda x: 2.0, "✗ expected shape (2,), got ()"),
        (lambda x: [2 * x], "✗ expected Tensor of shape (2,), got list of 1"),
        (lambda x: "twice", "✗ expected Tensor of shape (2,), got str"),
        (lambda x: None, "✗ returned nothing; does every path end in `return`?"),
        (raises, "✗ raised KeyError: 'oops'"),
        (lambda: 1, "✗ raised TypeError"),
    ],
)
def test_the_reader_is_told_what_is_wrong(attempt, says):
    assert judge(attempt, double, X).startswith(says)


def test_the_inputs_are_as_they_were_afterwards():
    x = torch.ones(3)
    assert judge(lambda t: t.zero_(), double, x).startswith("✗")
    assert torch.equal(x, torch.ones(3))


def test_the_first_wrong_part_of_several_is_named():
    reference = lambda x: Pair(2 * x, 1.0)  # noqa: E731
    assert judge(lambda x: Pair(2 * x, 1), reference, X) == "✓ correct"
    assert judge(lambda x: Pair(2 * x, 3.0), reference, X).startswith("✗ .right: right shape")
    assert judge(lambda x: {"a": 1, "b": 0}, lambda x: {"a": 1, "b": 2}, X).startswith("✗ ['b']")


@pytest.mark.parametrize(
    ("got", "expected", "says"),
    [
        ("yes", "yes", "✓"),
        ("no", "yes", "✗ expected 'yes', got 'no'"),
        (True, torch.tensor(True), "✓"),
        (3, 3.0, "✓"),
        (np.float32(0.1), 0.1, "✓"),
        (float("nan"), float("nan"), "✓"),
        (1_000_000.0, 1_000_001.0, "✓"),
        (0.0, 2e-5, "✗"),
    ],
)
def test_numbers_and_words_can_be_answers_too(got, expected, says):
    assert judge(lambda: got, lambda: expected).startswith(says)


def test_gradients_can_be_asked_for():
    weight = torch.ones(2, requires_grad=True)
    slope = lambda w: torch.autograd.grad((w**2).sum(), w)[0]  # noqa: E731
    assert judge(slope, lambda w: 2 * w, weight * 1.0) == "✓ correct"


def test_both_draw_the_same_random_numbers():
    draw = lambda generator: torch.rand(3, generator=generator)  # noqa: E731
    assert judge(draw, draw, torch.Generator().manual_seed(0)) == "✓ correct"


def test_it_never_stops_the_notebook(capsys):
    check(lambda: Strange(), lambda: "word")
    check(lambda: 1, raises)
    out = capsys.readouterr().out
    assert out.count("✗") == 2 and out.count("\n") == 2
