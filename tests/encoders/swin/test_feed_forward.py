import torch
import torch.nn.functional as F
from torch import nn

import mg3d.encoders.swin.feed_forward as feed_forward
from mg3d.encoders.swin.feed_forward import FeedForward


def layers(dtype=torch.float64):
    torch.manual_seed(0)
    layer, norm = FeedForward(3), nn.LayerNorm(3)
    for parameter in [*layer.parameters(), *norm.parameters()]:
        nn.init.normal_(parameter)
    return layer.to(dtype), norm.to(dtype)


def by_definition(layer, norm, tokens):
    return tokens + layer.linear2(F.gelu(layer.linear1(norm(tokens))))


def test_output_and_gradients_equal_the_definition(monkeypatch):
    layer, norm = layers()
    tokens = torch.randn(2, 3, 2, 2, 3, dtype=torch.float64, requires_grad=True)
    learned = [tokens, *layer.parameters(), *norm.parameters()]
    definition = by_definition(layer, norm, tokens)
    wanted = torch.autograd.grad(definition.pow(3).sum(), learned)
    for limit in (1, 700, 2**20):  # bytes: one row at a time, seven, all
        monkeypatch.setitem(feed_forward.PIECE_BYTES, "cpu", limit)
        ours = layer(tokens, norm)
        torch.testing.assert_close(ours, definition)
        torch.testing.assert_close(torch.autograd.grad(ours.pow(3).sum(), learned), wanted)


def test_gradients_are_those_of_finite_differences():
    layer, norm = layers()
    tokens = torch.randn(1, 2, 1, 2, 3, dtype=torch.float64, requires_grad=True)
    learned = [tokens, *layer.parameters(), *norm.parameters()]
    assert torch.autograd.gradcheck(lambda *_: layer(tokens, norm), learned)


def test_half_precision_in_autocast_stays_near_and_gradients_are_single():
    layer, norm = layers(torch.float32)
    tokens = torch.randn(1, 4, 4, 4, 3, requires_grad=True)
    learned = [tokens, *layer.parameters(), *norm.parameters()]
    exact = layer(tokens, norm)
    with torch.autocast("cpu", torch.bfloat16):
        near = layer(tokens, norm)
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
        layer(tokens, norm)
    assert max(kept) == tokens.numel() == sorted(kept)[-1]
    assert sum(kept) < 1.1 * tokens.numel()
