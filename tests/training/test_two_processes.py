"""A run on two processes equals the run on one: same patients, same masks, same losses and weights.

Run as a script, this file is one of the two processes.
"""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from prepared_patients import small_config
from safetensors.torch import load_file

from mg3d.config import LossWeights, change
from mg3d.config.checks import OneOf
from mg3d.objectives import OBJECTIVES
from mg3d.training import optimiser
from mg3d.training.loop import pretrain
from mg3d.training.step import build_pretraining

pytestmark = [pytest.mark.slow, pytest.mark.thorough]

ALL = LossWeights(clip=1.0)
RUNS = {name: ALL.only(name) for name in OBJECTIVES} | {"all": ALL}
STEPS = 2


def config_of(name):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(OneOf, "allows", lambda *_: True)  # sgd is an optimiser of this test only
        return change(
            small_config(),
            weights=RUNS[name],
            optimiser="sgd",
            learning_rate=0.1,
            warmup_steps=0,
            total_steps=2 * STEPS,
            validate_every=1,
        )


def run_all(data, output):
    """Every run, one after the other; the last one in two parts."""
    results = {}
    with pytest.MonkeyPatch.context() as patch:
        # Adam divides a gradient by its own size, and so makes a step of a rounding error.
        patch.setitem(optimiser.OPTIMISERS, "sgd", torch.optim.SGD)
        patch.setattr(OneOf, "allows", lambda *_: True)
        for name in RUNS:
            parts = [1, STEPS] if name == "all" else [STEPS]
            for stop in parts:
                run = pretrain(
                    config_of(name),
                    data,
                    output / name,
                    stop_after=stop,
                    resume=stop > parts[0],
                    progress=False,
                )
            results[name] = {"initial": run.initial, "final": run.final}
    return results


def be_one_process(data, output):
    results = run_all(data, output)
    (output / f"{os.environ['RANK']}.json").write_text(json.dumps(results))
    torch.distributed.destroy_process_group()


@pytest.fixture(scope="module")
def one(prepared, tmp_path_factory):
    folder = tmp_path_factory.mktemp("one")
    return folder, run_all(prepared, folder)


@pytest.fixture(scope="module")
def two(prepared, tmp_path_factory, repository):
    folder = tmp_path_factory.mktemp("two")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    several = {
        "PYTHONPATH": os.pathsep.join([str(repository), str(repository / "tests")]),
        "OMP_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "WORLD_SIZE": "2",
    }
    processes = [
        subprocess.Popen(
            [sys.executable, __file__, prepared, folder],
            env=os.environ | several | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
        )
        for rank in range(2)
    ]
    try:
        assert [process.wait(timeout=300) for process in processes] == [0, 0]
    finally:
        for process in processes:
            process.kill()
    return folder, [json.loads((folder / f"{rank}.json").read_text()) for rank in range(2)]


def weights_in(folder, name):
    return load_file(folder / name / "checkpoint" / "model.safetensors")


@pytest.mark.parametrize("name", RUNS)
def test_two_processes_train_the_weights_of_one(one, two, name):
    expected, found = weights_in(one[0], name), weights_in(two[0], name)
    assert found.keys() == expected.keys()
    start = build_pretraining(config_of(name)).state_dict()
    moved = max((value - start[key]).abs().max() for key, value in expected.items())
    assert moved > 1e-4
    for key, value in expected.items():
        error = (found[key] - value).abs().max()
        assert error < 1e-5 and error < 0.01 * moved, key


@pytest.mark.parametrize("name", RUNS)
def test_every_process_knows_the_held_out_losses_of_one(one, two, name):
    for results in two[1]:
        for when in ("initial", "final"):
            assert results[name][when] == pytest.approx(one[1][name][when], rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("name", RUNS)
def test_the_history_is_that_of_one_process(one, two, name):
    def rows(folder):
        lines = [line.split(",") for line in (folder / name / "history.csv").open()]
        without_seconds = [line[:1] + line[2:] for line in lines[1:]]
        return [[float(x) for x in line if x.strip()] for line in without_seconds]

    for found, expected in zip(rows(two[0]), rows(one[0]), strict=True):
        assert found == pytest.approx(expected, rel=1e-4, abs=1e-6)


if __name__ == "__main__":
    be_one_process(Path(sys.argv[1]), Path(sys.argv[2]))
