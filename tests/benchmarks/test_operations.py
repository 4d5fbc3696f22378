import json
import subprocess
import sys

from benchmarks.operations import jobs


def test_a_swin_is_counted_window_by_window_and_layer_by_layer():
    asked = [
        (job["preset"], job["window_recompute"]) for job in jobs(["swin_b", "tiny"], [1], False)
    ]
    assert asked == [("swin_b", True), ("swin_b", False), ("tiny", True)]


def test_twice_the_patients_cost_twice_the_operations(repository):
    done = subprocess.run(
        [
            *(sys.executable, "-m", "benchmarks.operations", "--toy"),
            *("--preset", "tiny", "--batch", "2", "4", "--threads", "1"),
        ],
        cwd=repository,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    two, four = map(json.loads, done.stdout.splitlines())
    assert (two["batch"], four["batch"]) == (2, 4)
    assert 1.9 < four["operations"] / two["operations"] < 2.2  # pairs of patients, and words drawn
    assert two["parameters"] == four["parameters"] > two["encoder_parameters"] > 0
