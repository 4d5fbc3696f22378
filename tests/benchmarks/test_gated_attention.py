import json
import subprocess
import sys

import pytest
import torch

from benchmarks.gated_attention import FORMS, jobs, measure_one
from mg3d.attention.gated import GatedCrossAttention


@pytest.mark.parametrize("form", ["looped", "sliced"])
def test_the_definitions_equal_the_closed_form_in_values_and_gradients(form):
    torch.manual_seed(0)
    attention = GatedCrossAttention(8)
    own, other = torch.randn(5, 8, requires_grad=True), torch.randn(3, 8, requires_grad=True)
    results = []
    for name in ("closed", form):
        for leaf in (own, other, *attention.parameters()):
            leaf.grad = None
        out = FORMS[name](attention, own, other)
        out.square().sum().backward()
        results.append([out, *(leaf.grad for leaf in (own, other, *attention.parameters()))])
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_the_first_measurement_is_at_the_sizes_of_the_method():
    first = next(jobs(toy=False, device="cpu", repeats=5))
    assert (first["words"], first["places"], first["width"]) == (250, 48, 768)
    assert first["forms"] == ["closed", "looped", "sliced"]


@pytest.mark.parametrize("settings", list(jobs(toy=True, device="cpu", repeats=2)), ids=str)
def test_every_kind_of_measurement_gives_numbers(settings):
    result = measure_one(settings)
    if settings["measure"] == "memory":
        assert result["extra_mib"] is None or result["extra_mib"] >= 0
    else:
        assert result["ratio"]["closed"] == 1
        for seconds in result["forms"].values():
            assert 0 < seconds["seconds"] <= seconds["median_seconds"]


def test_one_measurement_prints_one_json_line_and_describes_the_machine(repository):
    settings = next(jobs(toy=True, device="cpu", repeats=1))
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.gated_attention", "--one", json.dumps(settings)],
        cwd=repository,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    line = json.loads(done.stdout)
    assert line["benchmark"] == "gated_attention"
    assert set(line["machine"]) == {"cpu", "cores", "threads", "torch", "python"}
    assert line["machine"]["torch"] == torch.__version__
