"""What all objectives are tested with: made-up patients, seeded heads, where gradients arrive."""

import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))

from made_up import patients_with, reorder


@pytest.fixture
def make_patients():
    return patients_with


@pytest.fixture
def in_order():
    return reorder


@pytest.fixture
def seeded():
    """A module whose weights depend on nothing but its settings."""

    def build(kind, **settings):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1)
            return kind(**settings)

    return build


@pytest.fixture
def reached():
    """Names of the features a loss sends a gradient to."""

    def names(features, loss):
        loss.backward()
        gradients = {
            name: tensor.grad
            for name, tensor in vars(features).items()
            if isinstance(tensor, torch.Tensor) and tensor.requires_grad
        }
        return {name for name, grad in gradients.items() if grad is not None and grad.any()}

    return names
