"""The measurement of the encoder, at a toy size."""

import json
import subprocess
import sys

import pytest

from benchmarks.encoder import ENCODERS, ratios


@pytest.mark.thorough
def test_a_toy_run_measures_both_of_our_paths_beside_monai(repository):
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.encoder", "--toy", "--passes", "training"],
        cwd=repository,
        capture_output=True,
        text=True,
        check=True,
    )
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    measured = [line for line in lines if "encoder" in line]
    assert [line["encoder"] for line in measured] == list(ENCODERS)
    assert all(line["shape"] == [32, 32, 32] and line["cpu_seconds"] > 0 for line in measured)
    assert [line["ratio"] for line in lines if "ratio" in line] == [
        "modules / monai",
        "window_recompute / monai",
    ]


def test_ratios_are_of_the_medians_over_the_repeats():
    rows = [
        {
            **{"encoder": name, "pass": "forward", "shape": [1, 2, 3], "peak_mb": 2.0 * seconds},
            **{"cpu_seconds": seconds, "wall_seconds": seconds},
        }
        for name, times in zip(ENCODERS, ((4, 9, 6), (1, 2, 3), (8, 100, 1)), strict=True)
        for seconds in times
    ]
    modules, recompute = ratios(rows)
    assert (modules["cpu_seconds"], recompute["cpu_seconds"]) == (0.75, 0.25)
    assert (modules["shape"], modules["repeats"]) == ("1x2x3", 3)
