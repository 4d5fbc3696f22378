import pytest
import torch

from mg3d.experiments.sfr_collapse import train_sfr_heads
from mg3d.training.heldout import held_out_batches
from mg3d.training.patients import load_patients
from mg3d.training.step import build_pretraining


@pytest.fixture
def case(config, prepared, text_encoder):
    """A batch, and what an untrained model makes of it."""
    _, val = load_patients(config, prepared, text_encoder.tokenizer)
    batch = next(held_out_batches(val, config, text_encoder, "cpu"))
    with torch.no_grad():
        return build_pretraining(config, text_encoder).model(batch), batch


def test_a_trained_target_collapses_and_a_fixed_one_cannot(case):
    fixed, learned = (train_sfr_heads(*case, learn_target=own, steps=60) for own in (False, True))
    assert len(fixed.loss) == len(fixed.spread) == 60
    assert fixed.spread[-1] == fixed.spread[0] == learned.spread[0] > 0
    assert learned.spread[-1] < 0.2 * learned.spread[0]
    assert learned.loss[-1] < 0.1 * learned.loss[0]
    assert fixed.loss[0] == learned.loss[0]
    assert fixed.loss[-1] < fixed.loss[0]


def test_what_cannot_be_trained_is_refused(case):
    features, batch = case
    with pytest.raises(ValueError, match=r"at least 1 step .* got 0 steps and repaired words"):
        train_sfr_heads(features, batch, learn_target=True, steps=0)
