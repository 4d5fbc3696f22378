"""The supervised comparison: bounded by time, and still the same run when it was stopped."""

import itertools

import pytest
import torch

from mg3d.config import change
from mg3d.experiments.difficulty import (
    Classifier,
    score_supervised,
    supervise,
    supervised_step,
)
from mg3d.experiments.grid import Point
from mg3d.experiments.scored import settings_of
from mg3d.training.patients import load_patients
from mg3d.training.run_folder import RunFolder
from mg3d.training.run_log import RunLog
from mg3d.training.step import build_pretraining

QUIET = RunLog(line=lambda _: None, progress=False)
SECONDS = 6.0


@pytest.fixture
def clock(monkeypatch):
    """Every look at the clock takes a second, so that a step takes the same time on any machine."""

    def restart():
        ticks = itertools.count()
        monkeypatch.setattr("mg3d.training.fit.time.perf_counter", lambda: float(next(ticks)))

    restart()
    return restart


@pytest.fixture
def run(config, prepared, text_encoder, clock):
    """Train a fresh encoder on the labels; the encoder, and what came of it."""
    train, _ = load_patients(config, prepared, text_encoder.tokenizer)

    def supervised(**options):
        clock()
        encoder = build_pretraining(config, text_encoder).model.encoder
        return encoder, supervise(encoder, train, config, SECONDS, log=QUIET, **options)

    return supervised


def test_a_stopped_and_continued_run_equals_the_uninterrupted_one(run, tmp_path):
    whole, fitted = run()
    run(folder=RunFolder(tmp_path / "run"), stop_after=2)
    parts, rest = run(folder=RunFolder(tmp_path / "run", resume=True))
    for name, value in whole.state_dict().items():
        assert torch.equal(value, parts.state_dict()[name]), name
    assert rest.history.column("bce") == fitted.history.column("bce")
    assert rest.history.column("learning_rate") == fitted.history.column("learning_rate")


def test_it_ends_with_the_time_and_its_rate_falls_with_it(run, config):
    _, fitted = run()
    assert fitted.steps == SECONDS  # a second each
    rates = fitted.history.column("learning_rate")[1]
    expected = [
        config.optimisation.learning_rate * (step + 1) / 50 * (1 - step / SECONDS)
        for step in range(6)
    ]
    assert rates == pytest.approx(expected)


def test_it_learns_the_labels(config, prepared, text_encoder, clock):
    train, _ = load_patients(config, prepared, text_encoder.tokenizer)
    encoder = build_pretraining(config, text_encoder).model.encoder
    config = change(config, learning_rate=1e-2, batch_size=9)
    fitted = supervise(encoder, train, config, 100.0, log=QUIET)
    losses = fitted.history.column("bce")[1]
    assert sum(losses[-5:]) < 0.8 * sum(losses[:5])


def test_a_logit_is_read_from_the_mean_of_the_last_map(config, text_encoder):
    encoder = build_pretraining(config, text_encoder).model.encoder.eval()
    classifier = Classifier(encoder, 3, seed=0)
    volume, labels = torch.rand(2, 1, 32, 32, 32), torch.tensor([[0.0, 1.0, 0.0]] * 2)
    logits = classifier(volume)
    tokens = encoder(volume)[-1].mean(dim=(2, 3, 4))
    torch.testing.assert_close(logits, classifier.head(tokens))
    loss = supervised_step(classifier, (volume, labels))["bce"]
    odds = torch.where(labels == 1, logits.sigmoid(), 1 - logits.sigmoid())
    torch.testing.assert_close(loss, -odds.log().mean())


def test_a_supervised_run_is_scored_beside_the_untrained_encoder(config, prepared, tmp_path):
    settings, free = settings_of(change(config, weights=config.weights.only("mim")))
    point = Point(settings={"config": settings, "seconds": 0.5}, free=free, data=prepared)
    scores = score_supervised(point, tmp_path)
    assert scores["steps"] >= 1
    assert scores["held_out_patients"] == 4
    assert {"probe_macro_auroc", "probe_macro_auroc_untrained", "probe_gain"} <= set(scores)
    assert (tmp_path / "checkpoint").is_dir()
