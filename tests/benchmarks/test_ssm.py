import pytest
import torch

from benchmarks.ssm import FORMS, jobs, measure_one


def test_all_forms_are_equal_in_value_and_gradient():
    generator = torch.Generator().manual_seed(0)
    visual = torch.randn(9, 4, generator=generator, requires_grad=True)
    identity = torch.randn(9, 3, generator=generator)
    identity[[0, 4, 8]] = identity[1].clone()
    patient = torch.tensor([0, 0, 0, 0, 1, 1, 2, 2, 2])
    results = []
    for form in FORMS.values():
        visual.grad = None
        loss = form(visual, identity, patient)
        loss.backward()
        results.append((loss, visual.grad))
    assert results[0][1].any()
    for other in results[1:]:
        torch.testing.assert_close(other, results[0])


def test_all_forms_grow_to_64_patients_of_80_sentences_and_blocks_alone_to_512():
    timed = [job for job in jobs(toy=False, device="cpu", repeats=1) if "compared" in job]
    *_, largest, _, last = ((job["patients"], job["sentences"], job["compared"]) for job in timed)
    assert largest == (64, 80, ["closed", "blocks", "looped"])
    assert last == (512, 80, ["blocks"])


@pytest.mark.parametrize("settings", list(jobs(toy=True, device="cpu", repeats=2)), ids=str)
def test_every_kind_of_measurement_gives_numbers(settings):
    result = measure_one(settings)
    if settings["measure"] == "memory":
        assert result["extra_mib"] is None or result["extra_mib"] >= 0
    else:
        assert list(result["forms"]) == settings["compared"]
        if "looped" in settings["compared"]:
            assert result["ratio_closed"] > 0 and result["cpu_ratio_blocks"] > 0
