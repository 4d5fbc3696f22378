import itertools

import pytest
import torch
from torch import nn

import mg3d.encoders.swin.window_pieces as window_pieces
from mg3d.encoders.swin.window_attention import WindowAttention
from mg3d.encoders.swin.window_layout import fit_window


def attention(window=(2, 2, 2), *, shifted=True, dtype=torch.float64, dim=4, heads=2):
    torch.manual_seed(0)
    layer, norm = WindowAttention(dim, heads, window, shifted=shifted), nn.LayerNorm(dim)
    for parameter in [*layer.parameters(), *norm.parameters()]:
        nn.init.normal_(parameter)
    return layer.to(dtype), norm.to(dtype)


def by_definition(layer, norm, tokens):
    """Every query, key and offset on its own, as the paper and the released code have it."""
    B, *grid, c = tokens.shape
    window, shift = fit_window(tuple(grid), layer.window, shifted=layer.shifted)
    padded = [-(-size // edge) * edge for size, edge in zip(grid, window, strict=True)]
    normed = torch.zeros(B, *padded, c, dtype=tokens.dtype)
    normed[:, : grid[0], : grid[1], : grid[2]] = norm(tokens)  # padding is zero behind the norm
    q, k, v = layer.qkv(normed).chunk(3, dim=-1)
    width, n = c // layer.num_heads, window[0] * window[1] * window[2]
    index = layer.relative_position_index[:n, :n]  # the released code's choice for small maps
    out = torch.zeros_like(normed)
    inside = list(itertools.product(*map(range, window)))
    for corner in itertools.product(*(range(0, p, e) for p, e in zip(padded, window, strict=True))):
        rolled = [tuple(a + b for a, b in zip(corner, place, strict=True)) for place in inside]
        places = [
            tuple((a + s) % p for a, s, p in zip(r, shift, padded, strict=True)) for r in rolled
        ]
        # A window at the far end of a shifted axis holds tokens of both ends.
        wrapped = [
            tuple(s > 0 and a >= p - s for a, s, p in zip(r, shift, padded, strict=True))
            for r in rolled
        ]
        for b, head in itertools.product(range(B), range(layer.num_heads)):
            part = slice(head * width, (head + 1) * width)
            for i, own in enumerate(places):
                scores = []
                for j, other in enumerate(places):
                    score = q[(b, *own, part)] @ k[(b, *other, part)] / width**0.5
                    score = score + layer.relative_position_bias_table[index[i, j], head]
                    scores.append(score - 100.0 * (wrapped[i] != wrapped[j]))
                weights = torch.stack(scores).softmax(0)
                values = torch.stack([v[(b, *other, part)] for other in places])
                out[(b, *own, part)] = weights @ values
    return layer.proj(out[:, : grid[0], : grid[1], : grid[2]])


# Padded and shifted; all windows fit; one axis smaller than the window, which reads other offsets.
@pytest.mark.parametrize(
    "grid, window", [((3, 3, 2), (2, 2, 2)), ((4, 2, 2), (2, 2, 2)), ((4, 1, 3), (3, 2, 2))]
)
@pytest.mark.parametrize("shifted", [False, True])
def test_output_and_gradients_equal_the_definition(grid, window, shifted):
    layer, norm = attention(window, shifted=shifted)
    tokens = torch.randn(2, *grid, 4, dtype=torch.float64, requires_grad=True)
    ours, definition = layer(tokens, norm), by_definition(layer, norm, tokens)
    torch.testing.assert_close(ours, definition)
    weights = torch.randn_like(ours)
    learned = [tokens, *layer.parameters(), *norm.parameters()]
    torch.testing.assert_close(
        torch.autograd.grad((ours * weights).sum(), learned),
        torch.autograd.grad((definition * weights).sum(), learned),
    )


def test_gradients_are_those_of_finite_differences():
    layer, norm = attention()
    tokens = torch.randn(1, 3, 2, 2, 4, dtype=torch.float64, requires_grad=True)
    learned = [tokens, *layer.parameters(), *norm.parameters()]
    assert torch.autograd.gradcheck(lambda *_: layer(tokens, norm), learned)


def test_how_many_windows_are_worked_on_at_a_time_changes_nothing(monkeypatch):
    layer, norm = attention()
    tokens = torch.randn(3, 5, 4, 3, 4, dtype=torch.float64, requires_grad=True)
    results = []
    for limit in (1, 3000, 2**30):  # bytes: one window, five, all
        monkeypatch.setitem(window_pieces.PIECE_BYTES, "cpu", limit)
        found = layer(tokens, norm)
        gradients = torch.autograd.grad(found.square().sum(), [tokens, *layer.parameters()])
        results.append((found, *gradients))
    assert window_pieces.at_once(torch.zeros(2, 8, 8, dtype=torch.float64)) > 1
    torch.testing.assert_close(results[0], results[1])
    torch.testing.assert_close(results[0], results[2])


def test_half_precision_in_autocast_stays_near_and_gradients_are_single():
    layer, norm = attention(dtype=torch.float32)
    tokens = torch.randn(1, 5, 4, 3, 4, requires_grad=True)
    learned = [tokens, *layer.parameters(), *norm.parameters()]
    exact = layer(tokens, norm)
    with torch.autocast("cpu", torch.bfloat16):
        near = layer(tokens, norm)
    assert near.dtype == torch.bfloat16
    assert 0 < (near - exact).abs().max() < 0.05 * exact.abs().max()  # bfloat16: three digits
    weights = torch.randn_like(exact)
    wanted = torch.autograd.grad((exact * weights).sum(), learned)
    for found, other in zip(
        torch.autograd.grad((near * weights).sum(), learned), wanted, strict=True
    ):
        assert found.dtype == torch.float32
        assert 0 < (found - other).norm() < 0.05 * other.norm()


def test_training_remembers_tokens_and_no_map():
    layer, norm = attention((4, 4, 4), dtype=torch.float32, dim=8)
    tokens = torch.randn(1, 8, 8, 8, 8, requires_grad=True)
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(
        lambda tensor: kept.append(tensor.numel()) or tensor, lambda tensor: tensor
    ):
        layer(tokens, norm)
    one_window = 2 * 64 * 64  # the bias of one window, and what it is read with
    assert max(kept) <= one_window
    assert sum(kept) < 2 * tokens.numel() + 3 * one_window


def test_patients_of_a_batch_do_not_change_each_other():
    layer, norm = attention()
    tokens = torch.randn(3, 3, 4, 3, 4, dtype=torch.float64)
    torch.testing.assert_close(layer(tokens, norm)[1:2], layer(tokens[1:2], norm))
