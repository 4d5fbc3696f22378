"""Time and memory of one measurement, and of its parts, in a new process.

Peak memory is counted per process, so every measurement gets a new one (`in_fresh_process`), which
prints one JSON line. On a CPU the peak of a part comes from the kernel's counter, which can be
reset (on Linux only; elsewhere parts have no memory); on a GPU from torch's allocator.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from mg3d.training.memory import peak_memory_gb

GIB = 2**30
_FORGET_PEAK = Path("/proc/self/clear_refs")


def in_fresh_process(module: str, settings: dict[str, Any], threads: int) -> dict[str, Any]:
    """Run `python -m module --one SETTINGS` and read the JSON line it prints last.

    Args:
        module: of this folder, with a hidden argument `--one`.
        settings: of the measurement, as JSON.
        threads: of the numerical libraries; 0: their default.

    Raises:
        RuntimeError: if the process fails, with the last line it wrote.
    """
    chosen = {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)} if threads else {}
    done = subprocess.run(
        [sys.executable, "-m", f"benchmarks.{module}", "--one", json.dumps(settings)],
        env=os.environ | chosen,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["nothing"])[-1]
        raise RuntimeError(
            f"benchmarks.{module} with {settings} must end with status 0, but ended with "
            f"{done.returncode} (-9: out of memory); it wrote: {last}"
        )
    return json.loads(done.stdout.strip().splitlines()[-1])


def machine(device: str = "cpu") -> dict[str, Any]:
    """Processor, threads and versions that the numbers depend on; without the host's name."""
    cpu = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        cpu = next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    described = {
        "cpu": cpu,
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "python": platform.python_version(),
    }
    if device != "cpu":
        described["gpu"] = torch.cuda.get_device_name(device)
    return described


def finish(device: str = "cpu") -> None:
    """Wait until the device has finished all queued work."""
    if device != "cpu":
        torch.cuda.synchronize(device)


def forget_peak(device: str = "cpu") -> bool:
    """Reset the peak to the memory held at present; False if the system cannot do that."""
    if device != "cpu":
        torch.cuda.reset_peak_memory_stats(device)
        return True
    try:
        _FORGET_PEAK.write_text("5")
    except OSError:
        return False
    return True


def peak_gib(device: str = "cpu") -> float:
    """Peak memory since the last `forget_peak`, GiB: of the process, or on the GPU."""
    if device != "cpu":
        return torch.cuda.max_memory_allocated(device) / GIB
    return peak_memory_gb() * 1e9 / GIB


def alternate(
    functions: Mapping[str, Callable[[], object]], repeats: int, device: str = "cpu"
) -> dict[str, dict[str, float]]:
    """Seconds of each function, called in turns, so that other load on the machine affects all.

    Args:
        functions: by name; each is called once before, as a warm-up.
        repeats: number of turns.
        device: waited for after each call.
    """
    wall: dict[str, list[float]] = {name: [] for name in functions}
    cpu: dict[str, list[float]] = {name: [] for name in functions}
    for turn in range(repeats + 1):
        for name, function in functions.items():
            finish(device)
            start = time.perf_counter(), time.process_time()
            function()
            finish(device)
            if turn:
                wall[name].append(time.perf_counter() - start[0])
                cpu[name].append(time.process_time() - start[1])
    return {
        name: {
            "seconds": min(wall[name]),
            "median_seconds": statistics.median(wall[name]),
            "cpu_seconds": min(cpu[name]),
        }
        for name in functions
    }


def extra_gib(function: Callable[[], object], device: str = "cpu") -> float | None:
    """Peak memory of a call above the memory held before it; None if the peak is unknown."""
    if not forget_peak(device):
        return None
    before = peak_gib(device)
    function()
    finish(device)
    return peak_gib(device) - before


def round_to(value: Any, digits: int = 4) -> Any:
    """Numbers to so many significant digits, in dicts and lists too."""
    if isinstance(value, dict):
        return {key: round_to(item, digits) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [round_to(item, digits) for item in value]
    return float(f"{value:.{digits}g}") if isinstance(value, float) else value


def command_line(description: str | None) -> argparse.ArgumentParser:
    """The options that all measurements share."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--threads", type=int, default=0, help="0: torch's default")
    parser.add_argument("--repeats", type=int, default=5, help="turns, for minimum and median")
    parser.add_argument("--toy", action="store_true", help="small sizes, to see whether it runs")
    parser.add_argument("--one", type=json.loads, help=argparse.SUPPRESS)
    return parser


def show(line: Mapping[str, Any]) -> None:
    """Print one measurement."""
    print(json.dumps(round_to(dict(line))), flush=True)


class Parts:
    """Time and memory of a measurement by part.

    Args:
        device: "cpu", or a CUDA device, which is waited for at the end of every part.
    """

    def __init__(self, device: str = "cpu"):
        self.device = device
        self.seconds: dict[str, float] = {}
        self.cpu_seconds: dict[str, float] = {}
        self.peaks: dict[str, float] = {}  # GiB
        self._inside = False

    def clear(self) -> None:
        """Reset all counts."""
        for counted in (self.seconds, self.cpu_seconds, self.peaks):
            counted.clear()

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Count this block as part `name`; a nested part is counted with the outer one."""
        if self._inside:
            yield
            return
        self.start()
        yield
        self.stop(name)

    def start(self) -> None:
        """Begin a part."""
        self._inside = True
        finish(self.device)
        between = peak_gib(self.device)
        self._known = forget_peak(self.device)
        if self._known:
            self.peaks["rest"] = max(self.peaks.get("rest", 0.0), between)
        self._began = time.perf_counter(), time.process_time()

    def stop(self, name: str) -> None:
        """End the part begun last, which is called `name`."""
        finish(self.device)
        wall, cpu = time.perf_counter() - self._began[0], time.process_time() - self._began[1]
        self.seconds[name] = self.seconds.get(name, 0.0) + wall
        self.cpu_seconds[name] = self.cpu_seconds.get(name, 0.0) + cpu
        if self._known:
            self.peaks[name] = max(self.peaks.get(name, 0.0), peak_gib(self.device))
            forget_peak(self.device)
        self._inside = False

    def watch(self, module: torch.nn.Module, name: Any) -> None:
        """Count every forward pass of `module` as a part.

        Args:
            module: asked through its `__call__`.
            name: of the part, or a function of the module's inputs that gives it.
        """
        inside_before: list[bool] = []

        def before(_module: torch.nn.Module, _inputs: Any) -> None:
            inside_before.append(self._inside)
            if not self._inside:
                self.start()

        def after(_module: torch.nn.Module, inputs: Any, _output: Any) -> None:
            if not inside_before.pop():
                self.stop(name(*inputs) if callable(name) else name)

        module.register_forward_pre_hook(before)
        module.register_forward_hook(after)
