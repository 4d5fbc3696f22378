import pytest
import torch
from torch import nn

from mg3d.config import PRESETS, change, settings
from mg3d.training.checkpoint import Progress
from mg3d.training.optimiser import OPTIMISERS, build_optimiser, rate_of, schedule, set_rate


@pytest.mark.parametrize(
    ("step", "factor"), [(0, 0.0), (5_000, 0.5), (10_000, 1.0), (155_000, 0.5), (300_000, 0.0)]
)
def test_the_paper_schedule_by_hand(step, factor):
    assert schedule(step, warmup_steps=10_000, total_steps=300_000) == pytest.approx(factor)


def model():
    module = nn.Module()
    module.model = nn.Module()
    module.model.encoder = nn.Conv3d(1, 2, 3)
    module.model.head = nn.Linear(4, 4)
    module.model.frozen = nn.Linear(4, 4).requires_grad_(False)
    return module


def test_heads_learn_faster_than_the_encoder_and_biases_do_not_decay():
    config = change(PRESETS["paper"], learning_rate=1.0, warmup_steps=0)
    module = model()
    optimiser = build_optimiser(module, config)
    set_rate(optimiser, 1.0)
    settings = {
        id(p): (g["lr"], g["weight_decay"]) for g in optimiser.param_groups for p in g["params"]
    }
    assert settings[id(module.model.encoder.weight)] == (1.0, 1e-8)
    assert settings[id(module.model.encoder.bias)] == (1.0, 0.0)
    assert settings[id(module.model.head.weight)] == (5.0, 1e-8)
    assert id(module.model.frozen.weight) not in settings


def test_the_rate_of_a_step_counts_it_as_done():
    config = change(PRESETS["paper"], learning_rate=2.0, warmup_steps=10, total_steps=110)
    rate = rate_of(config)
    assert [rate(Progress(step, 0.0)) for step in (0, 9, 59, 109)] == [0.2, 2.0, 1.0, 0.0]


def test_the_paper_uses_plain_adam():
    assert type(build_optimiser(model(), PRESETS["paper"])) is torch.optim.Adam


def test_the_settings_name_every_optimiser():
    assert sorted(OPTIMISERS) == sorted(settings.OPTIMISERS)


def test_an_optimiser_that_is_in_no_table_lists_those_there_are(monkeypatch):
    monkeypatch.delitem(OPTIMISERS, "adam")
    with pytest.raises(ValueError, match="one of adamw; got 'adam'"):
        build_optimiser(model(), PRESETS["paper"])
