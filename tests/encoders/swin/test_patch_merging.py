import pytest
import torch
from torch import nn

from mg3d.encoders.swin.patch_merging import MERGINGS, ReleasedPatchMerging


def neighbours_seen(merging):
    layer = MERGINGS[merging](1)
    layer.norm = layer.reduction = nn.Identity()
    block = torch.tensor([[100 * i + 10 * j + k for k in (0, 1)] for i in (0, 1) for j in (0, 1)])
    return layer(block.view(1, 2, 2, 2, 1).float()).flatten().int().tolist()


def test_the_released_merging_takes_two_neighbours_twice_and_two_never():
    assert neighbours_seen("released") == [0, 100, 10, 1, 101, 10, 1, 111]


def test_the_repaired_merging_takes_every_neighbour_once():
    assert neighbours_seen("monai") == [0, 100, 10, 1, 110, 101, 11, 111]


@pytest.mark.parametrize("merging, sizes", [("released", (5, 5, 3)), ("monai", (4, 5, 3))])
def test_an_odd_axis_gets_zeros_at_its_far_end(merging, sizes):
    torch.manual_seed(0)
    layer = MERGINGS[merging](2)
    tokens = torch.randn(1, *sizes, 2)
    padded = torch.zeros(1, *(size + size % 2 for size in sizes), 2)
    padded[:, : sizes[0], : sizes[1], : sizes[2]] = tokens
    torch.testing.assert_close(layer(tokens), layer(padded))


def test_axes_that_make_the_released_merging_fail_are_refused():
    with pytest.raises(ValueError, match=r"all even or all odd, got \(4, 6, 5\).*merging='monai'"):
        ReleasedPatchMerging(1)(torch.zeros(1, 4, 6, 5, 1))


def test_other_numbers_of_axes_are_refused():
    with pytest.raises(ValueError, match="3 spatial axes"):
        ReleasedPatchMerging(4, spatial_dims=2)
