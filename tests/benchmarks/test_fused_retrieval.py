import pytest

from benchmarks.fused_retrieval import jobs, measure_one


def test_a_thousand_reports_meet_a_thousand_volumes_at_the_papers_width():
    sizes = [
        tuple(job[key] for key in ("reports", "volumes", "sentences", "places", "width"))
        for job in jobs(toy=False, device="cpu", repeats=1)
    ]
    assert (1000, 1000, 1, 48, 768) in sizes and (1000, 1000, 20, 48, 768) in sizes


@pytest.mark.parametrize("settings", list(jobs(toy=True, device="cpu", repeats=1)), ids=str)
def test_every_measurement_gives_numbers_and_agrees_with_the_definition(settings):
    result = measure_one(settings)
    assert result["seconds"] > 0 and result["pair_by_pair_seconds"] > 0
    assert result["peak_gib"] is None or result["peak_gib"] > 0
    assert result["largest_difference"] < 1e-5
