import pytest
import torch
from torch import nn

import mg3d.encoders.swin.recompute.pieces as pieces
from mg3d.encoders.swin.block import Block
from mg3d.encoders.swin.recompute.attention import attend_in_windows


def attention(window=(2, 2, 2), *, shifted=True, dtype=torch.float64, dim=4, heads=2):
    torch.manual_seed(0)
    block = Block(dim, heads, window, shifted=shifted)
    for parameter in [*block.attn.parameters(), *block.norm1.parameters()]:
        nn.init.normal_(parameter)
    return block.to(dtype)


def attended(block, tokens):
    layout = block.layout(tokens)
    values = attend_in_windows(
        tokens, block.norm1, block.attn.qkv, block.attn.position_bias, layout
    )
    return block.attn.proj(values)


def called_as_modules(block, tokens):
    layout = block.layout(tokens)
    windows = layout.cut(block.norm1(tokens))
    return layout.join(block.attn(windows, layout.mask(tokens.dtype)))


# Padded and shifted; all windows fit; one axis smaller than the window, which reads other offsets.
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
def test_output_and_gradients_equal_those_of_the_modules(grid, window, shifted):
    block = attention(window, shifted=shifted)
    tokens = torch.randn(2, *grid, 4, dtype=torch.float64, requires_grad=True)
    ours, definition = attended(block, tokens), called_as_modules(block, tokens)
    torch.testing.assert_close(ours, definition)
    weights = torch.randn_like(ours)
    learned = [tokens, *block.attn.parameters(), *block.norm1.parameters()]
    torch.testing.assert_close(
        torch.autograd.grad((ours * weights).sum(), learned),
        torch.autograd.grad((definition * weights).sum(), learned),
    )


def test_gradients_are_those_of_finite_differences():
    block = attention()
    tokens = torch.randn(1, 3, 2, 2, 4, dtype=torch.float64, requires_grad=True)
    learned = [tokens, *block.attn.parameters(), *block.norm1.parameters()]
    assert torch.autograd.gradcheck(lambda *_: attended(block, tokens), learned)


def test_how_many_windows_are_worked_on_at_a_time_changes_nothing(monkeypatch):
    block = attention()
    tokens = torch.randn(3, 5, 4, 3, 4, dtype=torch.float64, requires_grad=True)
    results = []
    for limit in (1, 3000, 2**30):  # bytes: one window, five, all
        monkeypatch.setitem(pieces.PIECE_BYTES, "cpu", limit)
        values = attended(block, tokens)
        gradients = torch.autograd.grad(values.square().sum(), [tokens, *block.attn.parameters()])
        results.append((values, *gradients))
    assert pieces.at_once(torch.zeros(2, 8, 8, dtype=torch.float64)) > 1
    torch.testing.assert_close(results[0], results[1])
    torch.testing.assert_close(results[0], results[2])


def test_half_precision_in_autocast_stays_near_and_gradients_are_single():
    block = attention(dtype=torch.float32)
    tokens = torch.randn(1, 5, 4, 3, 4, requires_grad=True)
    learned = [tokens, *block.attn.parameters(), *block.norm1.parameters()]
    exact = attended(block, tokens)
    with torch.autocast("cpu", torch.bfloat16):
        near = attended(block, tokens)
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
    block = attention((4, 4, 4), dtype=torch.float32, dim=8)
    tokens = torch.randn(1, 8, 8, 8, 8, requires_grad=True)
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(
        lambda tensor: kept.append(tensor.numel()) or tensor, lambda tensor: tensor
    ):
        attended(block, tokens)
    one_window = 2 * 64 * 64  # the bias of one window, and what it is read with
    assert max(kept) <= one_window
    assert sum(kept) < 2 * tokens.numel() + 3 * one_window


def test_patients_of_a_batch_do_not_change_each_other():
    block = attention()
    tokens = torch.randn(3, 3, 4, 3, 4, dtype=torch.float64)
    torch.testing.assert_close(attended(block, tokens)[1:2], attended(block, tokens[1:2]))


def test_windows_are_grouped_by_mask_and_padding():
    # One axis, 4 positions in windows of 2, rolled by 1: windows [1, 2] and [3, 0].
    block = attention((2, 1, 1))
    layout = block.layout(torch.zeros(1, 4, 1, 1, 4))
    free, apart = sorted(pieces.window_groups(layout), key=lambda group: group.mask is not None)
    assert (free.rows.tolist(), free.outside, free.mask) == ([[1, 2]], None, None)
    assert apart.rows.tolist() == [[3, 0]]
    assert apart.mask.tolist() == [[0, -100], [-100, 0]]
    assert pieces.window_groups(block.layout(torch.zeros(9, 4, 1, 1, 4)))[0] in (free, apart)
