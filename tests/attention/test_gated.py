import pytest
import torch

from mg3d.attention.gated import GatedCrossAttention, GateMap, mean_gate


def identity_maps(module):
    """Every linear map becomes the identity, so that numbers can be followed on paper."""
    for layer in module.modules():
        if isinstance(layer, torch.nn.Linear):
            torch.nn.init.eye_(layer.weight)
            torch.nn.init.zeros_(layer.bias)
    return module


def tokens(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_two_tokens_by_hand():
    attention = identity_maps(GatedCrossAttention(dim=4))
    own = torch.tensor([[[2.0, 0.0, 0.0, 0.0], [0.0, 4.0, 0.0, 0.0]]])
    other = torch.tensor([[[1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0]]])
    # Scores / sqrt(4): [[1, 0], [0, 0]]; sigmoid(1) = 0.731059, sigmoid(0) = 0.5.
    openness = [(0.731059 + 0.5) / 2, 0.5]
    expected = torch.tensor([[[2 * openness[0], 0, 0, 0], [0, 4 * openness[1], 0, 0]]])
    torch.testing.assert_close(attention(own, other), expected)


def test_equals_the_definition_written_as_loops():
    attention, own, other = GatedCrossAttention(8), tokens(2, 3, 8), tokens(2, 5, 8, seed=1)
    padding = torch.tensor([[False] * 5, [False, False, True, False, True]])
    query, key = attention.gates.query(own), attention.gates.key(other)
    value = attention.value(own)
    expected = torch.zeros(2, 3, 8)
    for b in range(2):
        for i in range(3):
            gates = []
            for j in range(5):
                if not padding[b, j]:
                    gates.append(torch.sigmoid(query[b, i] @ key[b, j] / 8**0.5))
            expected[b, i] = sum(gates) / len(gates) * value[b, i]
    torch.testing.assert_close(attention(own, other, padding), expected)


def test_gates_lie_between_0_and_1():
    gates = GateMap(8)(3 * tokens(2, 3, 8), 3 * tokens(2, 5, 8, seed=1))
    assert gates.shape == (2, 3, 5)
    assert (gates > 0).all()
    assert (gates < 1).all()


def test_gates_of_padded_tokens_are_0():
    padding = torch.tensor([[False, True, False]])
    gates = GateMap(8)(tokens(1, 2, 8), tokens(1, 3, 8), padding)
    assert (gates[:, :, 1] == 0).all()
    assert (gates[:, :, [0, 2]] > 0).all()


def test_the_order_of_the_other_tokens_changes_nothing():
    attention, own, other = GatedCrossAttention(8), tokens(2, 3, 8), tokens(2, 5, 8, seed=1)
    shuffled = other[:, [3, 1, 4, 0, 2]]
    torch.testing.assert_close(attention(own, shuffled), attention(own, other))


def test_permuting_the_own_tokens_permutes_the_output():
    attention, own, other = GatedCrossAttention(8), tokens(2, 3, 8), tokens(2, 5, 8, seed=1)
    torch.testing.assert_close(
        attention(own[:, [2, 0, 1]], other), attention(own, other)[:, [2, 0, 1]]
    )


def test_padding_is_as_if_it_were_not_there():
    attention, own, other = GatedCrossAttention(8), tokens(1, 3, 8), tokens(1, 5, 8, seed=1)
    padding = torch.tensor([[False, False, False, True, True]])
    short = attention(own, other[:, :3])
    torch.testing.assert_close(attention(own, other, padding), short)
    changed = other.clone()
    changed[:, 3:] = 1e4
    torch.testing.assert_close(attention(own, changed, padding), short)


def test_nothing_of_the_other_values_is_written_into_the_output():
    attention, other = GatedCrossAttention(8), tokens(1, 5, 8)
    own = tokens(1, 1, 8, seed=1)
    direction = attention.value(own).squeeze()
    output = attention(own, other).squeeze()
    torch.testing.assert_close(torch.cosine_similarity(output, direction, dim=0).item(), 1.0)


def test_nobody_to_look_at_opens_no_gate():
    output = GatedCrossAttention(8)(tokens(1, 2, 8), tokens(1, 3, 8), torch.ones(1, 3).bool())
    assert (output == 0).all()


def test_gradient_reaches_both_sides_and_every_parameter():
    attention = GatedCrossAttention(8)
    own, other = tokens(1, 3, 8).requires_grad_(), tokens(1, 4, 8, seed=1).requires_grad_()
    padding = torch.tensor([[False, False, False, True]])
    attention(own, other, padding).square().sum().backward()
    assert own.grad.abs().sum() > 0
    assert (other.grad[:, :3].abs().sum(-1) > 0).all()
    assert (other.grad[:, 3] == 0).all()
    assert all(p.grad.abs().sum() > 0 for name, p in attention.named_parameters())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_the_mean_over_many_tokens_is_rounded_once_at_the_end(dtype):
    gates = tokens(1, 64, 333).sigmoid().to(dtype)
    for padding in (None, torch.zeros(1, 333).bool()):
        assert torch.equal(mean_gate(gates, padding), gates.double().mean(-1).to(dtype))
