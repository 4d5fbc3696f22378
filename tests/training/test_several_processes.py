"""Several processes stop together, print once, and are not started by halves.

Run as a script, this file is one of two processes that train a line.
"""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from mg3d.training.devices import start_devices
from mg3d.training.fit import fit
from mg3d.training.run_folder import RunFolder
from mg3d.training.run_log import RunLog

pytestmark = pytest.mark.slow

SMALL = [
    *("--volume-shape", "32", "32", "32", "--encoder-settings", '{"channels": [4, 8, 8, 8]}'),
    *("--spacing-mm", "10", "11", "12", "--dim", "32", "--batch-size", "4", "--total-steps", "2"),
    *("--warmup-steps", "1", "--validate-every", "2"),
]


@pytest.fixture
def launch(repository, tmp_path):
    """Run a launcher's module with these arguments; the finished process."""

    def run(*arguments, **variables):
        paths = os.pathsep.join([str(repository), str(repository / "tests")])
        clean = {k: v for k, v in os.environ.items() if not k.startswith("ACCELERATE_")}
        several = {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
        return subprocess.run(
            [sys.executable, "-m", *map(str, arguments)],
            env=clean | several | variables,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=300,
        )

    return run


TORCHRUN = ("torch.distributed.run", "--standalone", "--nproc_per_node", "2")


@pytest.mark.thorough
def test_two_processes_print_one_first_line_and_one_line_of_json(launch, prepared, tmp_path):
    arguments = ["--data", prepared, "--output", tmp_path / "run", *SMALL]
    done = launch(*TORCHRUN, "-m", "mg3d.training", *arguments)
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.splitlines()
    assert json.loads(line)["steps"] == 2
    first = [line for line in done.stderr.splitlines() if " on cpu " in line]
    assert first == [
        "2 processes on cpu (1 thread each), precision no, 2 patients per process, 4 per step, "
        f"writes to {tmp_path / 'run'}"
    ]


def test_accelerate_s_lone_process_says_how_to_start_two(launch, prepared, tmp_path):
    accelerate = ("accelerate.commands.launch", "--cpu", "--num_processes", "2")
    arguments = ["--data", prepared, "--output", tmp_path / "run", *SMALL]
    done = launch(*accelerate, "-m", "mg3d.training", *arguments)
    assert done.returncode != 0
    (line,) = [line for line in done.stderr.splitlines() if "mg3d.training: error" in line]
    assert "asked for several processes and started one" in line
    assert "torchrun --standalone --nproc_per_node 2 -m mg3d.training" in line
    assert not (tmp_path / "run").exists()


@pytest.mark.thorough
def test_26b_a_precision_asked_of_accelerate_alone_is_refused(launch, prepared, tmp_path):
    accelerate = ("accelerate.commands.launch", "--cpu", "--mixed_precision", "bf16")
    arguments = ["--data", prepared, "--output", tmp_path / "run", *SMALL]
    done = launch(*accelerate, "-m", "mg3d.training", *arguments)
    assert done.returncode != 0
    assert "precision is 'no', but ACCELERATE_MIXED_PRECISION" in done.stderr
    done = launch(*accelerate, "-m", "mg3d.training", *arguments, "--precision", "bf16")
    assert done.returncode == 0, done.stderr
    assert "precision bf16" in done.stderr


@pytest.mark.thorough
def test_a_signal_to_one_process_stops_both_after_the_same_step(launch, tmp_path):
    done = launch(*TORCHRUN, __file__, tmp_path)
    assert done.returncode == 0, done.stderr
    ends = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2)]
    assert ends == [{"steps": 3, "got": ["SIGTERM"]}] * 2
    assert "stopped by SIGTERM after step 3: the checkpoint of step 3 is kept" in done.stdout
    assert done.stdout.count("stopped by") == 1


def be_one_process(folder):
    """Train a line; the second process is asked to stop in its third step."""
    got = []
    signal.signal(signal.SIGTERM, lambda number, _: got.append(signal.Signals(number).name))
    devices = start_devices()
    taken = []

    def step(model, batch):
        taken.append(1)
        if devices.rank == 1 and len(taken) == 3:
            os.kill(os.getpid(), signal.SIGTERM)
        return {"mse": model(batch).square().mean()}

    model = torch.nn.Linear(1, 1)
    fitted = fit(
        model,
        step,
        lambda steps: (torch.full((1, 1), float(number)) for number in steps),
        torch.optim.SGD(model.parameters(), lr=0.1),
        steps=6,
        devices=devices,
        folder=RunFolder(folder / "run"),
        log=RunLog(progress=False),
    )
    (folder / f"{devices.rank}.json").write_text(json.dumps({"steps": fitted.steps, "got": got}))
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    be_one_process(Path(sys.argv[1]))
