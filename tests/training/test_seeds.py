import torch

from mg3d.training.seeds import random_of_step, seed_of

CPU = torch.device("cpu")


def drawn(seed, step, draw=0):
    with random_of_step(seed, step, draw, CPU):
        return torch.rand(3)


def test_what_layers_draw_is_a_function_of_seed_step_and_micro_batch():
    assert drawn(0, 5).equal(drawn(0, 5))
    others = [drawn(1, 5), drawn(0, 6), drawn(0, 5, draw=1)]
    assert not any(other.equal(drawn(0, 5)) for other in others)


def test_nobody_else_s_random_numbers_are_used_up():
    with torch.random.fork_rng(devices=[]):
        before = torch.random.get_rng_state()
        drawn(0, 5)
        assert torch.random.get_rng_state().equal(before)


def test_seeds_do_not_collide_as_sums_do():
    assert len({seed_of(0, 3), seed_of(1, 2), seed_of(2, 1), seed_of(3, 0)}) == 4
