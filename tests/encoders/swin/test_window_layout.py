import itertools

import pytest
import torch

from mg3d.encoders.swin.window_layout import fit_window, relative_position_index, window_layout

CPU = torch.device("cpu")


def rows_by_rolling(grid, window, shift):
    """Pad, roll and cut, as the definition says; -1 for padding."""
    padded = [-(-size // edge) * edge for size, edge in zip(grid, window, strict=True)]
    rows = torch.full(padded, -1)
    rows[: grid[0], : grid[1], : grid[2]] = torch.arange(grid[0] * grid[1] * grid[2]).view(grid)
    rows = rows.roll([-s for s in shift], (0, 1, 2))
    return [
        tuple(
            rows[a : a + window[0], b : b + window[1], c : c + window[2]].flatten().tolist()
        )
        for a, b, c in itertools.product(
            *(range(0, size, edge) for size, edge in zip(padded, window, strict=True))
        )
    ]  # fmt: skip


def test_a_window_that_is_not_smaller_than_the_map_becomes_the_map_and_is_not_shifted():
    assert fit_window((8, 6, 7), (7, 7, 7), shifted=True) == ((7, 6, 7), (3, 0, 0))
    assert fit_window((8, 9, 10), (7, 7, 7), shifted=False) == ((7, 7, 7), (0, 0, 0))


@pytest.mark.parametrize("grid", [(8, 8, 8), (5, 4, 6), (3, 9, 4), (1, 2, 1)])
@pytest.mark.parametrize("shifted", [False, True])
def test_windows_hold_the_tokens_that_padding_and_rolling_bring_there(grid, shifted):
    window, shift = fit_window(grid, (4, 4, 4), shifted=shifted)
    layout = window_layout(grid, (4, 4, 4), shifted, CPU)
    assert [tuple(row) for row in layout.rows.tolist()] == rows_by_rolling(grid, window, shift)


@pytest.mark.parametrize("grid", [(8, 8, 8), (5, 4, 6), (3, 9, 4), (1, 2, 1)])
@pytest.mark.parametrize("shifted", [False, True])
def test_a_map_is_cut_as_the_table_says_and_put_together_again(grid, shifted):
    layout = window_layout(grid, (4, 4, 4), shifted, CPU)
    tokens = torch.randn(2, *grid, 3)
    windows = layout.cut(tokens)
    with_padding = torch.cat([tokens[1].flatten(0, 2), torch.zeros(1, 3)])  # row -1: zeros
    assert torch.equal(windows[len(layout.rows) :], with_padding[layout.rows])
    assert torch.equal(layout.join(windows), tokens)


def test_tokens_from_opposite_ends_of_the_map_are_kept_apart():
    # One axis, 4 positions in windows of 2, rolled by 1: windows [1, 2] and [3, 0].
    layout = window_layout((4, 1, 1), (2, 1, 1), True, CPU)
    assert layout.rows.tolist() == [[1, 2], [3, 0]]
    assert layout.mask(torch.float32).tolist() == [[[0, 0], [0, 0]], [[0, -100], [-100, 0]]]


def test_windows_that_are_not_shifted_have_no_mask():
    assert window_layout((9, 9, 9), (4, 4, 4), False, CPU).mask(torch.float32) is None
    assert window_layout((4, 3, 2), (4, 4, 4), True, CPU).mask(torch.float32) is None


def test_the_tables_are_made_once():
    first = window_layout((8, 8, 8), (4, 4, 4), True, CPU)
    assert window_layout((8, 8, 8), (4, 4, 4), True, CPU) is first


def test_the_position_index_counts_offsets_with_the_last_axis_fastest():
    assert relative_position_index((2, 1, 2)).tolist() == [
        [4, 3, 1, 0],
        [5, 4, 2, 1],
        [7, 6, 4, 3],
        [8, 7, 5, 4],
    ]
