import pytest
import torch

from benchmarks.ssm import closed, jobs, looped, measure_one


def test_the_loop_over_pairs_equals_the_closed_form_in_value_and_gradient():
    generator = torch.Generator().manual_seed(0)
    visual = torch.randn(9, 4, generator=generator, requires_grad=True)
    identity = torch.randn(9, 3, generator=generator)
    identity[[0, 4, 8]] = identity[1].clone()
    patient = torch.tensor([0, 0, 0, 0, 1, 1, 2, 2, 2])
    results = []
    for form in (closed, looped):
        visual.grad = None
        loss = form(visual, identity, patient)
        loss.backward()
        results.append((loss, visual.grad))
    assert results[0][1].any()
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_growth_ends_at_64_patients_of_80_sentences():
    last = list(jobs(toy=False, device="cpu", repeats=1))[-1]
    assert (last["patients"], last["sentences"]) == (64, 80)


@pytest.mark.parametrize("settings", list(jobs(toy=True, device="cpu", repeats=2)), ids=str)
def test_every_kind_of_measurement_gives_numbers(settings):
    result = measure_one(settings)
    if settings["measure"] == "memory":
        assert result["extra_mib"] is None or result["extra_mib"] >= 0
    else:
        assert result["ratio"] > 0 and result["cpu_ratio"] > 0
        assert set(result["forms"]) == {"closed", "looped"}
