import itertools

import pytest
import torch
from torch import nn

from mg3d.encoders.swin.window_attention import WindowAttention
from mg3d.encoders.swin.window_layout import fit_window, window_layout


def attention(window=(2, 2, 2), *, dtype=torch.float64):
    torch.manual_seed(0)
    layer, norm = WindowAttention(4, 2, window), nn.LayerNorm(4)
    for parameter in [*layer.parameters(), *norm.parameters()]:
        nn.init.normal_(parameter)
    return layer.to(dtype), norm.to(dtype)


def on_a_map(layer, norm, tokens, window, *, shifted=True):
    layout = window_layout(tuple(tokens.shape[1:4]), window, shifted, tokens.device)
    return layout.join(layer(layout.cut(norm(tokens)), layout.mask(tokens.dtype)))


def by_definition(layer, norm, tokens, window, *, shifted):
    """Every query, key and offset on its own, as the paper and the released code have it."""
    B, *grid, c = tokens.shape
    window, shift = fit_window(tuple(grid), window, shifted=shifted)
    padded = [-(-size // edge) * edge for size, edge in zip(grid, window, strict=True)]
    normed = torch.zeros(B, *padded, c, dtype=tokens.dtype)
    normed[:, : grid[0], : grid[1], : grid[2]] = norm(tokens)  # padding is zero behind the norm
    q, k, v = layer.qkv(normed).chunk(3, dim=-1)
    width, n = c // layer.num_heads, window[0] * window[1] * window[2]
    index = layer.relative_position_index[:n, :n]  # the released code's choice for small maps
    out = torch.zeros_like(normed)
    inside = list(itertools.product(*map(range, window)))
    for corner in itertools.product(*(range(0, p, e) for p, e in zip(padded, window, strict=True))):
        rolled = [tuple(a + b for a, b in zip(corner, step, strict=True)) for step in inside]
        positions = [
            tuple((a + s) % p for a, s, p in zip(r, shift, padded, strict=True)) for r in rolled
        ]
        # A window at the far end of a shifted axis holds tokens of both ends.
        wrapped = [
            tuple(s > 0 and a >= p - s for a, s, p in zip(r, shift, padded, strict=True))
            for r in rolled
        ]
        for b, head in itertools.product(range(B), range(layer.num_heads)):
            part = slice(head * width, (head + 1) * width)
            for i, own in enumerate(positions):
                scores = []
                for j, other in enumerate(positions):
                    score = q[(b, *own, part)] @ k[(b, *other, part)] / width**0.5
                    score = score + layer.relative_position_bias_table[index[i, j], head]
                    scores.append(score - 100.0 * (wrapped[i] != wrapped[j]))
                weights = torch.stack(scores).softmax(0)
                values = torch.stack([v[(b, *other, part)] for other in positions])
                out[(b, *own, part)] = weights @ values
    return layer.proj(out[:, : grid[0], : grid[1], : grid[2]])


# Padded and shifted; all windows fit; one axis smaller than the window, which reads other offsets;
# a window with tokens of both ends and padding between them.
@pytest.mark.parametrize(
    "grid, window",
    [
        ((3, 3, 2), (2, 2, 2)),
        ((4, 2, 2), (2, 2, 2)),
        ((4, 1, 3), (3, 2, 2)),
        ((7, 7, 1), (4, 4, 1)),
    ],
)
@pytest.mark.parametrize("shifted", [False, True])
def test_output_and_gradients_equal_the_definition(grid, window, shifted):
    layer, norm = attention(window)
    tokens = torch.randn(2, *grid, 4, dtype=torch.float64, requires_grad=True)
    ours = on_a_map(layer, norm, tokens, window, shifted=shifted)
    definition = by_definition(layer, norm, tokens, window, shifted=shifted)
    torch.testing.assert_close(ours, definition)
    weights = torch.randn_like(ours)
    learned = [tokens, *layer.parameters(), *norm.parameters()]
    torch.testing.assert_close(
        torch.autograd.grad((ours * weights).sum(), learned),
        torch.autograd.grad((definition * weights).sum(), learned),
    )


def test_the_softmax_gives_the_map_to_a_hook():
    layer, norm = attention()
    tokens = torch.randn(2, 4, 4, 4, 4, dtype=torch.float64)
    maps = []
    layer.softmax.register_forward_hook(lambda module, inputs, weights: maps.append(weights))
    on_a_map(layer, norm, tokens, (2, 2, 2))
    assert maps[0].shape == (2 * 8, 2, 8, 8)  # patients x windows, heads, tokens, tokens
    torch.testing.assert_close(maps[0].sum(-1), torch.ones(16, 2, 8, dtype=torch.float64))


def test_patients_of_a_batch_do_not_change_each_other():
    layer, norm = attention()
    tokens = torch.randn(3, 3, 4, 3, 4, dtype=torch.float64)
    torch.testing.assert_close(
        on_a_map(layer, norm, tokens, (2, 2, 2))[1:2],
        on_a_map(layer, norm, tokens[1:2], (2, 2, 2)),
    )
