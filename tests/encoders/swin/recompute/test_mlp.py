import torch
from torch import nn

import mg3d.encoders.swin.recompute.mlp as recompute_mlp
from mg3d.encoders.swin.mlp import MLP
from mg3d.encoders.swin.recompute.mlp import add_mlp


def layers(dtype=torch.float64):
    torch.manual_seed(0)
    layer, norm = MLP(3), nn.LayerNorm(3)
    for parameter in [*layer.parameters(), *norm.parameters()]:
        nn.init.normal_(parameter)
    return layer.to(dtype), norm.to(dtype)


def added(layer, norm, tokens):
    return add_mlp(tokens, norm, layer.linear1, layer.linear2)


def by_definition(layer, norm, tokens):
    return tokens + layer(norm(tokens))


def test_output_and_gradients_equal_the_definition(monkeypatch):
    layer, norm = layers()
    tokens = torch.randn(2, 3, 2, 2, 3, dtype=torch.float64, requires_grad=True)
    learned = [tokens, *layer.parameters(), *norm.parameters()]
    definition = by_definition(layer, norm, tokens)
    wanted = torch.autograd.grad(definition.pow(3).sum(), learned)
    for limit in (1, 700, 2**20):  # bytes: one row at a time, seven, all
        monkeypatch.setitem(recompute_mlp.PIECE_BYTES, "cpu", limit)
        ours = added(layer, norm, tokens)
        torch.testing.assert_close(ours, definition)
        torch.testing.assert_close(torch.autograd.grad(ours.pow(3).sum(), learned), wanted)


def test_gradients_are_those_of_finite_differences():
    layer, norm = layers()
    tokens = torch.randn(1, 2, 1, 2, 3, dtype=torch.float64, requires_grad=True)
    learned = [tokens, *layer.parameters(), *norm.parameters()]
    assert torch.autograd.gradcheck(lambda *_: added(layer, norm, tokens), learned)


def test_half_precision_in_autocast_stays_near_and_gradients_are_single():
    layer, norm = layers(torch.float32)
    tokens = torch.randn(1, 4, 4, 4, 3, requires_grad=True)
    learned = [tokens, *layer.parameters(), *norm.parameters()]
    exact = added(layer, norm, tokens)
    with torch.autocast("cpu", torch.bfloat16):
        near = added(layer, norm, tokens)
    assert 0 < (near - exact).abs().max() < 0.05 * exact.abs().max()
    weights = torch.randn_like(exact)
    wanted = torch.autograd.grad((exact * weights).sum(), learned)
    found = torch.autograd.grad((near * weights).sum(), learned)
    for ours, other in zip(found, wanted, strict=True):
        assert ours.dtype == torch.float32
        assert 0 < (ours - other).norm() < 0.05 * other.norm()


def test_training_remembers_the_tokens_and_nothing_wider():
    layer, norm = layers()
    tokens = torch.randn(1, 8, 8, 8, 3, dtype=torch.float64, requires_grad=True)
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(
        lambda tensor: kept.append(tensor.numel()) or tensor, lambda tensor: tensor
    ):
        added(layer, norm, tokens)
    assert max(kept) == tokens.numel() == sorted(kept)[-1]
    assert sum(kept) < 1.1 * tokens.numel()
