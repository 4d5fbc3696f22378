import numpy as np
import pytest

from mg3d.evaluation.retrieval import align, retrieve


def paired(num_patients, noise, seed=0):
    numbers = np.random.default_rng(seed)
    shared = numbers.normal(size=(num_patients, 8))
    mix = np.random.default_rng(1).normal(size=(8, 20))
    volumes = shared @ mix + noise * numbers.normal(size=(num_patients, 20))
    return volumes, shared


def test_perfect_pairs_are_found_and_shuffled_ones_are_not():
    features = np.random.default_rng(0).normal(size=(128, 16))
    result = retrieve(features, features)
    assert result.recall.value == 1.0
    assert result.chance == pytest.approx(5 / 64)
    assert result.shuffled.value < 0.15
    assert result.recall.n == 128


def test_strangers_are_found_at_chance():
    numbers = np.random.default_rng(0)
    result = retrieve(numbers.normal(size=(640, 16)), numbers.normal(size=(640, 16)))
    assert result.recall.low < result.chance < result.recall.high


def test_one_patient_is_one_of_one():
    result = retrieve(np.ones((1, 4)), np.ones((1, 4)))
    assert (result.pool_size, result.chance, result.recall.value) == (1, 1.0, 1.0)


def test_the_alignment_head_finds_a_planted_linear_relation_in_new_patients():
    train, test = paired(300, 0.1), paired(64, 0.1, seed=5)
    volumes, reports = align(*train, *test)
    assert retrieve(reports, volumes, k=1).recall.value > 0.9


def test_the_alignment_head_finds_nothing_where_nothing_is():
    train, test = paired(300, 0.1), paired(640, 0.1, seed=5)
    volumes, reports = align(train[0], train[1][::-1].copy(), test[0], test[1][::-1].copy())
    result = retrieve(reports, volumes)
    assert result.recall.value < 2 * result.chance
