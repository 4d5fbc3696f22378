"""What a step sees depends on its number, not on processes, micro-batches or restarts."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from mg3d.config import change
from mg3d.training.devices import start_devices
from mg3d.training.patients import fit_batch, hidden_batches, load_patients, shown_batches


def one_of(rank, world, accumulation):
    """One of several processes, as far as batches ask."""
    asked = SimpleNamespace(process_index=rank, num_processes=world)
    devices = start_devices(accumulation=accumulation)
    return replace(devices, accelerator=asked)


@pytest.fixture
def batches(config, prepared, text_encoder):
    """Hidden micro-batches of some steps, as one of several processes gets them."""
    train, _ = load_patients(config, prepared, text_encoder.tokenizer)

    def of(steps, rank=0, world=1, accumulation=1, seed=0):
        devices = one_of(rank, world, accumulation)
        asked = change(config, seed=seed, jitter_shift=2, jitter_noise=0.1)
        return list(hidden_batches(train, asked, text_encoder, devices)(steps))

    return of


def volumes(items):
    return torch.cat([item.volume for item in items])


def masks(items):
    return torch.cat([item.voxel_mask for item in items])


def patients(items):
    return [patient for item in items for patient in item.patient_id]


def same(one, other):
    return (
        patients(one) == patients(other)
        and volumes(one).equal(volumes(other))
        and masks(one).equal(masks(other))
    )


def test_a_continued_run_sees_what_the_whole_one_would(batches):
    assert same(batches(range(2, 4)), batches(range(4))[2:])


def test_processes_and_micro_batches_share_what_one_would_see(batches):
    whole = batches(range(1))
    halves = batches(range(1), accumulation=2)
    assert [len(item) for item in halves] == [2, 2]
    assert same(halves, whole)
    assert same(batches(range(1), rank=0, world=2) + batches(range(1), rank=1, world=2), whole)
    quarters = [batches(range(1), rank=rank, world=2, accumulation=2) for rank in range(2)]
    assert same(quarters[0] + quarters[1], whole)


def test_every_step_and_every_seed_see_something_else(batches):
    first, second = batches(range(2))
    assert not masks([first]).equal(masks([second]))
    (other,) = batches(range(1), seed=1)
    assert not masks([first]).equal(masks([other]))


def test_shown_volumes_are_jittered_ones_of_the_data_set(config, prepared, text_encoder):
    train, _ = load_patients(config, prepared, text_encoder.tokenizer)
    devices = one_of(0, 1, 1)
    plain = change(config, jitter_shift=0, jitter_contrast=0, jitter_brightness=0, jitter_noise=0)
    for asked, equal in ((plain, True), (change(plain, jitter_noise=0.1), False)):
        (item,) = shown_batches(train, asked, text_encoder.pad_token, devices)(range(1))
        row = train.patients.index(item.batch.patient_id[0])
        own = train.load_volume(train.first_volumes[row])
        assert item.batch.volume[0].equal(own) is equal
        assert item.first == 0


def test_a_batch_that_fits_is_left_as_it_is(config):
    assert fit_batch(config, 4, 1) == (config, [])


def test_a_smaller_batch_is_a_multiple_of_processes_and_micro_batches(config):
    asked = change(config, batch_size=16, accumulation=2)
    smaller, notes = fit_batch(asked, 11, 2)
    assert smaller.optimisation.batch_size == 8
    assert notes == ["batch_size 16 -> 8: there are 11 training patients"]


def test_fewer_patients_than_processes_are_refused(config):
    with pytest.raises(ValueError, match="1 training patients cannot fill 2 processes"):
        fit_batch(config, 1, 2)
