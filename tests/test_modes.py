import pytest
import torch
from torch import nn

from mg3d.modes import evaluating


def modes(module):
    return {name: layer.training for name, layer in module.named_modules()}


@pytest.fixture
def module():
    return nn.Sequential(nn.Dropout(0.5), nn.Sequential(nn.BatchNorm1d(3), nn.Dropout(0.5)))


def test_inside_the_block_every_layer_evaluates(module):
    ones = torch.ones(4, 3)
    with evaluating(module):
        assert not any(modes(module).values())
        torch.testing.assert_close(module(ones), ones)
    assert all(modes(module).values())
    assert module[1][0].num_batches_tracked == 0


def test_a_layer_frozen_on_purpose_stays_frozen_afterwards(module):
    module[1].eval()
    before = modes(module)
    with evaluating(module):
        pass
    assert modes(module) == before
    assert before["0"] and not before["1.0"]


def test_a_module_in_evaluation_mode_stays_in_it(module):
    module.eval()
    with evaluating(module):
        pass
    assert not any(modes(module).values())


def test_an_error_inside_the_block_gives_the_mode_back(module):
    with pytest.raises(KeyError), evaluating(module):
        raise KeyError("any")
    assert all(modes(module).values())


def test_gradients_pass_inside_the_block():
    layer = nn.Linear(3, 1)
    with evaluating(layer):
        layer(torch.ones(2, 3)).sum().backward()
    assert layer.weight.grad.tolist() == [[2.0, 2.0, 2.0]]
