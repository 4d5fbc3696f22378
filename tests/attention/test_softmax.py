import math

import torch

from mg3d.attention.softmax import SoftmaxCrossAttention, SoftmaxMap


def tokens(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_two_tokens_by_hand():
    attention = SoftmaxCrossAttention(dim=4)
    for layer in (attention.shares.query, attention.shares.key, attention.value):
        torch.nn.init.eye_(layer.weight)
        torch.nn.init.zeros_(layer.bias)
    own = torch.tensor([[[2 * math.log(3), 0.0, 0.0, 0.0]]])
    other = torch.tensor([[[1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0]]])
    # Scores / sqrt(4): [log 3, 0], so the shares are 3/4 and 1/4.
    torch.testing.assert_close(attention.shares(own, other), torch.tensor([[[0.75, 0.25]]]))
    read = torch.tensor([2 * math.log(3) + 0.75, 0.0, 0.25, 0.0])
    expected = (read - read.mean()) / (read.var(unbiased=False) + 1e-5).sqrt()
    torch.testing.assert_close(attention(own, other)[0, 0], expected)


def test_equals_the_definition_written_as_loops():
    attention, own, other = SoftmaxCrossAttention(8), tokens(2, 3, 8), tokens(2, 4, 8, seed=1)
    padding = torch.tensor([[False] * 4, [False, True, False, True]])
    query, key = attention.shares.query(own), attention.shares.key(other)
    value = attention.value(other)
    rows = []
    for b in range(2):
        real = [j for j in range(4) if not padding[b, j]]
        for i in range(3):
            weights = [(query[b, i] @ key[b, j] / 8**0.5).exp() for j in real]
            read = sum(w * value[b, j] for w, j in zip(weights, real, strict=True)) / sum(weights)
            rows.append(attention.norm(own[b, i] + read))
    expected = torch.stack(rows).view(2, 3, 8)
    torch.testing.assert_close(attention(own, other, padding), expected)


def test_shares_add_up_to_1_over_the_real_tokens():
    padding = torch.tensor([[False, True, False, False]])
    shares = SoftmaxMap(8)(tokens(1, 3, 8), tokens(1, 4, 8), padding)
    torch.testing.assert_close(shares.sum(-1), torch.ones(1, 3))
    assert (shares[:, :, 1] == 0).all()


def test_padding_is_as_if_it_were_not_there():
    attention, own, other = SoftmaxCrossAttention(8), tokens(1, 3, 8), tokens(1, 5, 8, seed=1)
    padding = torch.tensor([[False, False, False, True, True]])
    torch.testing.assert_close(attention(own, other, padding), attention(own, other[:, :3]))


def test_nobody_to_look_at_leaves_the_own_token_and_a_finite_gradient():
    attention, own = SoftmaxCrossAttention(8), tokens(1, 2, 8).requires_grad_()
    output = attention(own, tokens(1, 3, 8), torch.ones(1, 3).bool())
    torch.testing.assert_close(output, attention.norm(own))
    output.square().sum().backward()
    assert own.grad.isfinite().all()


def test_the_other_values_are_written_into_the_output():
    attention, own, other = SoftmaxCrossAttention(8), tokens(1, 1, 8), tokens(1, 1, 8, seed=1)
    expected = attention.norm(own + attention.value(other))  # one other token takes the whole share
    torch.testing.assert_close(attention(own, other), expected)
