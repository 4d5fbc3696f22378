"""What every objective says about itself; and a new one, trained without any other change."""

from dataclasses import asdict, dataclass

import pytest
import torch

from mg3d.config import LossWeights, change
from mg3d.data.batch import collate
from mg3d.evaluation.trivial import trivial_losses
from mg3d.model import FEATURES, Features
from mg3d.objectives import LABELS, OBJECTIVES, Objective
from mg3d.objectives.objective import Baseline, TrainingPatients
from mg3d.training.loop import pretrain
from mg3d.training.patients import load_patients
from mg3d.training.step import build_pretraining, hide


@pytest.fixture
def batch(config, prepared, text_encoder):
    train, _ = load_patients(config, prepared, text_encoder.tokenizer)
    return collate(text_encoder.pad_token)([train[row] for row in range(3)])


class Recorded(Features):
    """Features that remember which of them were read."""

    def __getattribute__(self, name):
        if name in FEATURES:
            object.__getattribute__(self, "read").add(name)
        return object.__getattribute__(self, name)


def recorded(features):
    copy = object.__new__(Recorded)
    vars(copy).update(vars(features), read=set())
    return copy


def test_every_weight_has_an_objective_and_every_objective_a_weight():
    assert set(LossWeights.names()) == set(OBJECTIVES)


def test_labels_tell_objectives_apart():
    assert len(set(LABELS.values())) == len(OBJECTIVES)
    assert all(label.startswith(name.upper()) for name, label in LABELS.items())


@torch.no_grad()
@pytest.mark.parametrize("text", ["vector", "words"])
def test_an_objective_reads_the_features_it_names_and_no_others(config, batch, text_encoder, text):
    config = change(config, clip_text=text)
    pretraining = build_pretraining(config, text_encoder)
    hidden = hide(batch, config, text_encoder, torch.Generator().manual_seed(0))
    whole = pretraining.model(hidden)
    train = TrainingPatients(
        lambda: batch.volume.mean(0), lambda: torch.ones(text_encoder.vocabulary_size).long()
    )
    for name, objective in pretraining.objectives.items():
        features = recorded(whole)
        objective(features, hidden)
        assert features.read == objective.reads, name
        objective.baseline(features, hidden, train)
        assert features.read == objective.reads, name


@pytest.mark.parametrize("name", OBJECTIVES)
def test_an_objective_alone_has_its_loss_among_all(config, batch, text_encoder, name):
    """Also: what it names in `reads` and `hides` is enough."""
    everything = build_pretraining(config, text_encoder)
    ablated = change(config, weights=config.weights.only(name))
    alone = build_pretraining(ablated, text_encoder)
    seed = torch.Generator().manual_seed(0)
    together = everything(hide(batch, config, text_encoder, seed))
    (loss,) = alone(hide(batch, ablated, text_encoder, seed.manual_seed(0))).values()
    assert torch.equal(loss, together[name])


class Toy(Objective):
    """Bring the mean entry of the volume's vector to 1."""

    label = "TOY · mean entry"
    trivial_model = "zeros"
    reads = frozenset({"volume_vector"})

    def __init__(self):
        super().__init__()
        self.factor = torch.nn.Parameter(torch.ones(()))

    @classmethod
    def from_config(cls, config, model):
        return cls()

    def forward(self, features, batch):
        return (self.factor * features.volume_vector.mean() - 1).square()

    def baseline(self, features, batch, train):
        return Baseline(1.0)


@dataclass(frozen=True, kw_only=True)
class ToyWeights(LossWeights):
    toy: float = 1.0


def test_a_new_objective_is_one_class_one_line_and_one_weight(
    config, prepared, text_encoder, tmp_path, monkeypatch
):
    monkeypatch.setitem(OBJECTIVES, "toy", Toy)
    weights = ToyWeights(**dict.fromkeys(asdict(LossWeights()), 0.0))
    config = change(config, weights=weights, learning_rate=1e-2, total_steps=8)
    run = pretrain(
        config,
        data_dir=prepared,
        output_dir=tmp_path / "run",
        pretraining=build_pretraining(config, text_encoder),
        progress=False,
        log=lambda _: None,
    )
    assert run.final["toy"] < run.initial["toy"]
    assert run.pretraining.objectives["toy"].factor != 1
    trivial = trivial_losses(run.pretraining, run.train, run.val, run.config)
    assert trivial.losses == {"toy": 1.0}
    assert {"toy", "val_toy"} <= set(run.history.rows[-1])


def test_what_baselines_may_know_is_computed_once_and_only_if_asked_for():
    calls = []
    train = TrainingPatients(
        lambda: calls.append("volume") or torch.zeros(1, 2, 2, 2), lambda: calls.append("counts")
    )
    assert calls == []
    assert train.mean_volume is train.mean_volume
    assert calls == ["volume"]
