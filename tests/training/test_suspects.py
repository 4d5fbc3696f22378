from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from mg3d.training.suspects import patients_of


@dataclass
class Some:
    patient_id: tuple[str, ...]
    volume: Tensor
    tokens: Tensor
    weight_of_classes: Tensor


def some(volume):
    return Some(("a_1", "b_2", "c_3"), volume, torch.zeros(3, 4, dtype=torch.long), torch.ones(7))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_the_patient_whose_volume_is_broken_is_named(value):
    volume = torch.zeros(3, 1, 2, 2, 2)
    volume[1, 0, 1, 0, 1] = value
    assert patients_of(some(volume)) == ["b_2 (NaN or infinity in volume)"]


def test_all_patients_are_suspects_of_a_batch_without_a_broken_tensor():
    assert patients_of(some(torch.zeros(3, 1, 2, 2, 2))) == ["a_1", "b_2", "c_3"]


def test_a_batch_that_knows_no_patients_has_no_suspects():
    assert patients_of((torch.tensor([float("nan")]), torch.ones(1))) == []
