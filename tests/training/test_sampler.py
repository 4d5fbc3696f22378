import numpy as np
import pytest

from mg3d.training.sampler import StepSampler


def sampler(counts=(1,) * 10, batch_size=4, **options):
    volumes_of = np.split(np.arange(sum(counts)), np.cumsum(counts)[:-1])
    options = {"seed": 0, "first_step": 0, "last_step": 6} | options
    return StepSampler(volumes_of, batch_size, **options)


def test_every_patient_is_shown_at_most_once_an_epoch():
    batches = list(sampler())
    first_epoch = [*batches[0], *batches[1]]
    assert len(first_epoch) == 8
    assert len(set(first_epoch)) == 8


def test_no_batch_holds_two_volumes_of_one_patient():
    counts = (3, 1, 2, 3, 1)
    owner = np.repeat(np.arange(5), counts)
    seen = set()
    for batch in sampler(counts, batch_size=5, last_step=50):
        assert sorted(owner[batch]) == [0, 1, 2, 3, 4]
        seen |= set(batch)
    assert seen == set(range(10))  # every reconstruction gets its turn


def test_a_continued_run_sees_what_the_whole_run_would_have_seen():
    whole = list(sampler(last_step=7))
    assert list(sampler(last_step=3)) + list(sampler(first_step=3, last_step=7)) == whole


def test_processes_and_parts_share_one_batch_in_order():
    whole = list(sampler())
    parts = [list(sampler(rank=rank, world=2)) for rank in range(2)]
    assert [a + b for a, b in zip(*parts, strict=True)] == whole
    micro = list(sampler(parts=2))
    assert [micro[i] + micro[i + 1] for i in range(0, len(micro), 2)] == whole


def test_another_seed_gives_another_order():
    assert list(sampler(seed=1)) != list(sampler(seed=0))


def test_a_batch_larger_than_the_data_is_refused():
    with pytest.raises(ValueError, match="at most 10"):
        sampler(batch_size=16)


def test_a_batch_that_cannot_be_shared_is_refused():
    with pytest.raises(ValueError, match="multiple of 3"):
        sampler(world=3)
