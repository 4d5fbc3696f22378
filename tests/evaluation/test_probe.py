import numpy as np

from mg3d.evaluation.probe import linear_probe, score_findings
from mg3d.evaluation.summary import gain


def patients(num_patients, seed, strength):
    numbers = np.random.default_rng(seed)
    labels = (numbers.random((num_patients, 3)) < 0.3).astype(float)
    features = numbers.normal(size=(num_patients, 12))
    features[:, :3] += strength * labels
    return features, labels


def test_finds_what_was_planted_and_nothing_else():
    planted = linear_probe(*patients(400, 0, 2.0), *patients(200, 1, 2.0))
    nothing = linear_probe(*patients(400, 0, 0.0), *patients(200, 1, 0.0))
    assert planted.macro.low > 0.85
    assert nothing.macro.low < 0.5 < nothing.macro.high + 0.05


def test_unknown_labels_are_left_out_not_taken_for_absent():
    features, labels = patients(400, 0, 2.0)
    labels[:, 0][np.random.default_rng(2).random(400) < 0.5] = np.nan
    probe = linear_probe(features, labels, *patients(200, 1, 2.0))
    assert probe.per_finding["0"] > 0.85


def test_a_finding_without_positives_is_undefined():
    features, labels = patients(100, 0, 2.0)
    labels[:, 1] = 0
    probe = linear_probe(features, labels, *patients(100, 1, 2.0))
    assert np.isnan(probe.per_finding["1"])
    assert np.isfinite(probe.macro.value)


def test_the_gain_is_paired():
    labels = patients(200, 1, 0)[1]
    weak = np.random.default_rng(0).normal(size=labels.shape) + 0.5 * labels
    before = score_findings(labels, weak)
    after = score_findings(labels, weak + labels)
    score = gain(after, before)
    assert score.low > 0
    assert score.high - score.low < (after.macro.high - after.macro.low) + 0.05
    assert gain(before, before).value == 0
