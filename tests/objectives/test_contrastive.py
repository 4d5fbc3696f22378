import math

import pytest
import torch

from mg3d.objectives.contrastive import (
    ContrastiveHead,
    chance_loss,
    check_temperature,
    compare_patients,
    symmetric_cross_entropy,
    symmetric_infonce,
)


def test_two_patients_by_hand():
    # Cosines 1 and 0 on rows of the identity, temperature 0.5: softmax of (2, 0) at the diagonal.
    loss = symmetric_infonce(torch.eye(2), torch.eye(2), 0.5)
    assert loss.item() == pytest.approx(math.log(1 + math.exp(-2)))
    swapped = symmetric_infonce(torch.eye(2), torch.eye(2).flip(0), 0.5)
    assert swapped.item() == pytest.approx(math.log(1 + math.exp(2)))


def test_rows_and_columns_count_half_each():
    def cost(margin):
        return math.log(1 + math.exp(-margin))

    logits = torch.tensor([[0.0, 3.0], [0.0, 9.0]])
    rows, columns = (cost(-3) + cost(9)) / 2, (cost(0) + cost(6)) / 2
    assert symmetric_cross_entropy(logits).item() == pytest.approx((rows + columns) / 2)


def test_equals_the_definition_written_as_loops():
    torch.manual_seed(0)
    left, right = torch.randn(5, 7), torch.randn(5, 7)
    terms = []
    for own, other in ((left, right), (right, left)):
        for b in range(5):
            scores = [torch.cosine_similarity(own[b], other[c], dim=0) / 0.1 for c in range(5)]
            terms.append(-(scores[b] - torch.stack(scores).logsumexp(0)))
    torch.testing.assert_close(symmetric_infonce(left, right, 0.1), torch.stack(terms).mean())


def test_rows_are_left_and_columns_right():
    left, right = torch.eye(3), torch.eye(3)[[1, 2, 0]]
    expected = torch.tensor([[0, 0, 1], [1, 0, 0], [0, 1, 0]]) / 0.1
    torch.testing.assert_close(compare_patients(left, right, 0.1), expected)


def test_does_not_depend_on_the_order_of_patients_or_sides():
    torch.manual_seed(0)
    left, right = torch.randn(4, 6), torch.randn(4, 6)
    loss = symmetric_infonce(left, right, 0.1)
    order = torch.tensor([2, 0, 3, 1])
    torch.testing.assert_close(symmetric_infonce(left[order], right[order], 0.1), loss)
    torch.testing.assert_close(symmetric_infonce(right, left, 0.1), loss)
    assert not torch.isclose(symmetric_infonce(left, right[order], 0.1), loss)


def test_knowing_nothing_costs_the_chance_loss():
    same = torch.ones(6, 3)
    assert symmetric_infonce(same, same, 0.1).item() == pytest.approx(chance_loss(6), abs=1e-5)
    assert chance_loss(1) == 0


def test_one_patient_costs_nothing():
    vector = torch.randn(1, 8, requires_grad=True)
    loss = symmetric_infonce(vector, vector, 0.1)
    loss.backward()
    assert loss.item() == 0
    assert not vector.grad.any()


def test_a_head_gives_unit_vectors_and_forgets_scale_and_offset():
    head = ContrastiveHead(8, 5)
    vectors = torch.randn(3, 8)
    out = head(vectors)
    torch.testing.assert_close(out.norm(dim=1), torch.ones(3))
    torch.testing.assert_close(head(3 * vectors + 7), out, atol=1e-4, rtol=0)
    assert head.projection.bias is None
    assert {name for name, _ in head.named_parameters()} == {
        "norm.weight", "norm.bias", "projection.weight",
    }  # fmt: skip


def test_a_head_equals_its_formula():
    head = ContrastiveHead(4, 3)
    with torch.no_grad():
        head.norm.weight.copy_(torch.tensor([1.0, 2.0, -1.0, 0.5]))
        head.norm.bias.copy_(torch.tensor([0.0, 1.0, 0.0, -1.0]))
    x = torch.tensor([[1.0, 2.0, 3.0, 6.0]])
    normed = (x - 3) / (3.5 + 1e-5) ** 0.5 * head.norm.weight + head.norm.bias
    projected = normed @ head.projection.weight.T
    torch.testing.assert_close(head(x), projected / projected.norm())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_logits_are_float32_under_mixed_precision(dtype):
    vectors = torch.randn(3, 8)
    with torch.autocast("cpu", dtype=dtype):
        logits = compare_patients(vectors.to(dtype), vectors.to(dtype), 0.1)
    assert logits.dtype == torch.float32
    exact = compare_patients(vectors.to(dtype).float(), vectors.to(dtype).float(), 0.1)
    torch.testing.assert_close(logits, exact)


@pytest.mark.parametrize("temperature", [0.0, -0.1, float("nan")])
def test_a_temperature_that_is_not_above_0_is_refused(temperature):
    with pytest.raises(ValueError, match=r"above 0, got .*the paper's is 0\.1"):
        check_temperature(temperature)
