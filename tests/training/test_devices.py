from pathlib import Path

import pytest
import torch

from mg3d.training.devices import start_devices


@pytest.fixture
def alone(monkeypatch):
    """One thread on a CPU, whatever the machine has."""
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)


def test_the_first_line_says_where_a_run_computes_and_writes(alone):
    line = start_devices().describe(8, Path("runs/a"))
    assert line == (
        "1 process on cpu (1 thread each), precision no, 8 patients per process, 8 per step, "
        "writes to runs/a"
    )


def test_micro_batches_are_said(alone):
    line = start_devices(precision="bf16", accumulation=4).describe(8, None)
    assert "precision bf16, 8 patients per process in 4 micro-batches, 8 per step" in line
    assert line.endswith("writes nothing")


def test_fp16_without_a_gpu_is_refused():
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(ValueError, match="needs a GPU"):
        start_devices(precision="fp16")


def test_a_second_run_of_a_process_has_its_own_precision_and_accumulation(alone):
    for precision, accumulation in (("bf16", 2), ("no", 3), ("bf16", 1)):
        accelerator = start_devices(precision=precision, accumulation=accumulation).accelerator
        assert accelerator.mixed_precision == precision
        assert accelerator.gradient_accumulation_steps == accumulation


def test_devices_started_meanwhile_do_not_change_a_run_in_silence(alone):
    first, _ = start_devices(accumulation=2), start_devices(accumulation=3)
    first.hold()
    assert first.accelerator.gradient_accumulation_steps == 2
    start_devices(precision="bf16")
    with pytest.raises(RuntimeError, match=r"precision 'no', but .* again with 'bf16'"):
        first.hold()


def test_the_environment_is_asked(monkeypatch):
    monkeypatch.setenv("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "4")
    with pytest.raises(ValueError, match="accumulation is 1"):
        start_devices()
    assert start_devices(accumulation=4).accelerator.gradient_accumulation_steps == 4
