import pytest
import torch

from mg3d.objectives.collapse import feature_spread


def test_spread_by_hand():
    assert feature_spread(torch.tensor([[2.0, 0.0], [5.0, 0.0]])).item() == pytest.approx(0)
    assert feature_spread(torch.tensor([[2.0, 0.0], [-5.0, 0.0]])).item() == pytest.approx(1)
    quarter = feature_spread(torch.tensor([[1.0, 0.0], [0.0, 3.0]]))
    assert quarter.item() == pytest.approx(1 - 0.5**0.5)


def test_only_directions_count():
    features = torch.randn(7, 5)
    scale = torch.rand(7, 1) + 0.5
    torch.testing.assert_close(feature_spread(features * scale), feature_spread(features))


def test_many_random_directions_spread_almost_fully():
    generator = torch.Generator().manual_seed(0)
    assert feature_spread(torch.randn(2000, 8, generator=generator)) > 0.9
