"""The cost of a step: counted, complete, and without a trace in the model."""

from itertools import pairwise

import pytest
import torch

from mg3d.config import change
from mg3d.experiments.step_cost import step_cost
from mg3d.training.heldout import held_out_batches
from mg3d.training.patients import known_of, load_patients
from mg3d.training.step import build_pretraining


@pytest.fixture
def cost_of(config, prepared, text_encoder):
    def cost(names=("clip",), batch_size=4, **settings):
        weights = config.weights.only(*names)
        changed = change(config, weights=weights, batch_size=batch_size, **settings)
        pretraining = build_pretraining(changed, text_encoder)
        train, val = load_patients(changed, prepared, text_encoder.tokenizer)
        pretraining.start(known_of(train, text_encoder.vocabulary_size))
        batch = next(held_out_batches(val, changed, text_encoder, "cpu"))
        before = {name: value.clone() for name, value in pretraining.state_dict().items()}
        state = torch.random.get_rng_state()
        found = step_cost(pretraining, batch, weights.active())
        assert torch.equal(state, torch.random.get_rng_state())
        assert all(p.grad is None for p in pretraining.parameters())
        for name, value in pretraining.state_dict().items():
            assert torch.equal(value, before[name]), name
        return found

    return cost


def test_the_encoder_of_one_step_is_counted_as_by_hand(cost_of, config):
    """Stage 1 halves 32^3 with a 3^3 kernel; every further stage halves again."""
    channels, forward, first = [1, 4, 8, 8, 8], 0, 0
    for stage, (a, b) in enumerate(pairwise(channels), start=1):
        operations = 2 * 27 * a * b * (32 // 2**stage) ** 3
        first = first or operations
        forward += operations
    one, two = cost_of(batch_size=2), cost_of(batch_size=4)
    # Forward, and backward to inputs (not to the volume) and weights: three passes but for one.
    assert one.operations > 2 * (3 * forward - first)
    assert one.operations < 2 * (3 * forward - first) * 1.5  # a small model: heads count as well
    assert two.operations == pytest.approx(2 * one.operations, rel=0.2)  # reports differ in length
    assert (one.patients, two.patients) == (2, 4)


def test_weights_are_those_that_an_objective_trains(cost_of):
    clip, both = cost_of(("clip",)), cost_of(("clip", "mlm"))
    assert clip.encoder_parameters == both.encoder_parameters > 0
    assert both.parameters > clip.parameters > clip.encoder_parameters
    assert both.operations > clip.operations


def test_recomputation_is_counted(cost_of):
    assert cost_of(activation_checkpointing=True).operations > cost_of().operations
