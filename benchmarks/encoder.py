"""Time and memory of the Swin encoder beside MONAI's `SwinTransformer` as shipped.

Ours is measured twice: `modules` calls every layer as a module, as MONAI does; `window_recompute`
computes a few windows at a time. `python -m benchmarks.encoder` prints one JSON line per
measurement, the three taking turns, and then one line per ratio to MONAI, from the medians;
`--toy` measures a small volume in seconds. Each measurement is a process of its own: it builds the
encoder and a volume, reads how much memory the process holds, runs once, reads the most it has held
since (the kernel's VmRSS and VmHWM; on a GPU, torch.cuda's own count), and then times a second run,
so that first-time costs are left out. CPU seconds count user and system time of all threads.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.measure import machine, show

MONAI = "monai"
ENCODERS = ("modules", "window_recompute", MONAI)
SHAPES = ((96, 96, 96), (128, 96, 128))
TOY_SHAPES = ((32, 32, 32),)
PASSES = ("forward", "training")  # training: forward and backward, gradients of all parameters


def build(name: str, *, checkpointing: bool) -> nn.Module:
    """Ours with the repaired merging, so that all compute the same, or MONAI's."""
    if name == MONAI:
        from monai.networks.nets.swin_unetr import SwinTransformer

        return SwinTransformer(
            1, 48, (7, 7, 7), (2, 2, 2), (2, 2, 2, 2), (3, 6, 12, 24), use_checkpoint=checkpointing
        )
    from mg3d.encoders.swin.swin3d import Swin3DEncoder

    return Swin3DEncoder(
        merging="monai",
        checkpointing=checkpointing,
        window_recompute=name == "window_recompute",
    )


def one_pass(encoder: Callable[[Tensor], Any], volume: Tensor, kind: str, precision: str) -> None:
    """A forward pass without gradients, or a training pass; waits until it has ended."""
    half = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(precision)
    with (
        torch.set_grad_enabled(kind == "training"),
        torch.autocast(volume.device.type, half, enabled=half is not None),
    ):
        last = encoder(volume)[-1]
    if kind == "training":
        last.float().square().mean().backward()
    if volume.is_cuda:
        torch.cuda.synchronize()


def resident(field: str) -> int:
    """Resident memory of this process in bytes: VmRSS (now) or VmHWM (peak)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    (line,) = (line for line in lines if line.startswith(f"{field}:"))
    return int(line.split()[1]) * 1024


def measure(given: argparse.Namespace, name: str, kind: str, shape: list[int]) -> dict[str, Any]:
    """Make one measurement; runs in its own process."""
    torch.set_num_threads(given.threads)
    torch.manual_seed(0)
    device = torch.device(given.device)
    encoder = build(name, checkpointing=given.checkpointing).to(device)
    volume = torch.rand(given.batch, 1, *shape, device=device)
    if device.type == "cuda":
        before = torch.cuda.memory_allocated()
        one_pass(encoder, volume, kind, given.precision)
        peak = torch.cuda.max_memory_allocated() - before
    else:
        before = resident("VmRSS")
        one_pass(encoder, volume, kind, given.precision)
        peak = resident("VmHWM") - before
    wall, user = time.perf_counter(), time.process_time()
    one_pass(encoder, volume, kind, given.precision)
    return {
        "encoder": name,
        "pass": kind,
        "shape": shape,
        "cpu_seconds": round(time.process_time() - user, 3),
        "wall_seconds": round(time.perf_counter() - wall, 3),
        "peak_mb": round(peak / 1e6, 1),
        **{
            key: getattr(given, key)
            for key in ("batch", "device", "threads", "precision", "checkpointing")
        },
    }


def measurements(arguments: list[str], given: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Every measurement, the encoders taking turns, each in a process of its own."""
    for shape in given.shapes:
        for kind in given.passes:
            for _ in range(given.repeats):
                for name in ENCODERS:
                    job = ["--one", name, kind, "x".join(map(str, shape))]
                    done = subprocess.run(
                        [sys.executable, "-m", "benchmarks.encoder", *arguments, *job],
                        stdout=subprocess.PIPE,
                        check=True,
                    )
                    yield json.loads(done.stdout.splitlines()[-1])


def ratios(rows: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Ratios of the library's medians to MONAI's."""
    groups: dict[tuple[str, str], dict[str, list[dict[str, Any]]]] = defaultdict(
        lambda: defaultdict(list)
    )
    for row in rows:
        groups[row["pass"], "x".join(map(str, row["shape"]))][row["encoder"]].append(row)
    for (kind, shape), by_encoder in groups.items():
        for name in ENCODERS[:-1]:
            line: dict[str, Any] = {"ratio": f"{name} / {MONAI}", "pass": kind, "shape": shape}
            for key in ("cpu_seconds", "wall_seconds", "peak_mb"):
                ours, theirs = (
                    statistics.median(row[key] for row in by_encoder[which])
                    for which in (name, MONAI)
                )
                line[key] = round(ours / theirs, 3) if theirs else None
            yield line | {"repeats": len(by_encoder[name])}


def main() -> None:
    """Read the command line; see the module's first lines."""

    def shape(text: str) -> list[int]:
        return [int(size) for size in text.split("x")]

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shapes", type=shape, nargs="+", default=[list(s) for s in SHAPES])
    parser.add_argument("--passes", choices=PASSES, nargs="+", default=list(PASSES))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--precision", choices=("fp32", "bf16", "fp16"), default="fp32")
    parser.add_argument("--checkpointing", action="store_true", help="in both encoders")
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("--toy", action="store_true", help="a small volume, once: seconds")
    given = parser.parse_args()
    if given.toy:
        given.shapes, given.repeats = [list(size) for size in TOY_SHAPES], 1
    if given.one:
        name, kind, size = given.one
        print(json.dumps(measure(given, name, kind, shape(size))))
        return
    where = {"benchmark": "encoder", "machine": machine(given.device) | {"threads": given.threads}}
    rows = []
    for row in measurements(sys.argv[1:], given):
        rows.append(row)
        show(where | row)
    for line in ratios(rows):
        show(where | line)


if __name__ == "__main__":
    main()
