"""Time and memory of preparing a volume, compared with a straightforward implementation.

`python -m benchmarks.prepare` draws a phantom chest of 512 x 512 x 300 voxels, writes it as .nii.gz
and prepares it several times by each route, each time in a fresh process: `mg3d` (read, HU proof,
grid, write) and `nibabel` (`get_fdata`, canonical axes, torch `interpolate`, window, write; no
checks). It prints one JSON line per measurement and one with the ratios of the medians. A route's
memory is its peak above what the process held after its imports and a small volume. `--large` adds
a 1024 x 1024 x 237 volume, ours only.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measure import machine, show
from mg3d.volumes.grid import Grid

WINDOW = (-1000.0, 1000.0)  # HU
GRIDS = {
    "128 x 96 x 128, central crop": Grid((128, 96, 128), crop=(0.88, 0.65625, 0.875)),
    "1.5 x 0.75 x 0.75 mm, 240 x 480 x 480": Grid((240, 480, 480), (1.5, 0.75, 0.75)),
}
Route = Callable[[Path, Path, Grid], None]


def by_mg3d(source: Path, target: Path, grid: Grid) -> None:
    """The library's own path, from the file to the prepared file."""
    from mg3d.data.masks import MaskMeaning
    from mg3d.preparation.prepare_volume import prepare_volume
    from mg3d.preparation.records import PrepareSettings, ScanRecord

    record = ScanRecord(volume_id="a", patient_id="a", scan_id="a", split="train", volume=source)
    outcome = prepare_volume(
        record,
        output=target,
        settings=PrepareSettings(grid=grid, hu_window=WINDOW),
        masks_mean=MaskMeaning(),
        root=source.parent,
    )
    if outcome.reason:
        raise RuntimeError(outcome.reason)


def by_nibabel(source: Path, target: Path, grid: Grid) -> None:
    """The straightforward implementation: the whole volume as floating point numbers."""
    import nibabel as nib
    import torch
    import torch.nn.functional as F
    from safetensors.torch import save_file

    image = nib.as_closest_canonical(nib.load(source))
    spacing_mm = image.header.get_zooms()[::-1]
    voxels = torch.from_numpy(image.get_fdata()).float().permute(2, 1, 0)
    if grid.spacing_mm is None:
        voxels = _centre(
            voxels, [round(c * n) for c, n in zip(grid.crop, voxels.shape, strict=True)]
        )
        size = list(grid.shape)
    else:
        extent = [n * s for n, s in zip(voxels.shape, spacing_mm, strict=True)]
        size = [round(float(e / s)) for e, s in zip(extent, grid.spacing_mm, strict=True)]
    voxels = F.interpolate(voxels[None, None], size, mode="trilinear")[0, 0]
    voxels = _centre(voxels, list(grid.shape))
    low, high = WINDOW
    unit = ((voxels - low) / (high - low)).clamp(0, 1)
    save_file({"volume": (unit * 255).round().byte().contiguous()}, target / "volume.safetensors")


def _centre(voxels: Any, shape: list[int]) -> Any:
    """The central part, air around it where the volume is smaller."""
    import torch.nn.functional as F

    short = [max(0, n - m) for n, m in zip(shape, voxels.shape, strict=True)]
    pads = [side for lack in reversed(short) for side in (lack // 2, lack - lack // 2)]
    voxels = F.pad(voxels, pads, value=-1000.0)
    starts = [(m - n) // 2 for n, m in zip(shape, voxels.shape, strict=True)]
    h, w, d = (slice(start, start + n) for start, n in zip(starts, shape, strict=True))
    return voxels[h, w, d]


ROUTES: dict[str, Route] = {"mg3d": by_mg3d, "nibabel": by_nibabel}


def measure_here(route: Route, source: Path, small: Path, grid: Grid) -> dict[str, float]:
    """Time and memory of one volume in this process, its imports apart."""
    import torch

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        route(small, Path(folder), Grid((8, 8, 8)))
        before = peak_bytes()
        for name in Path(folder).rglob("*.safetensors"):
            name.unlink()
        cpu, wall = time.process_time(), time.perf_counter()
        route(source, Path(folder), grid)
        return {
            "cpu_seconds": round(time.process_time() - cpu, 3),
            "wall_seconds": round(time.perf_counter() - wall, 3),
            "peak_mb": round((peak_bytes() - before) / 1e6, 1),
        }


def peak_bytes() -> int:
    """Peak resident memory of this process so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def measure(route: str, source: Path, small: Path, grid: str) -> dict[str, float]:
    """Run `measure_here` in a new process."""
    command = [*(sys.executable, "-m", "benchmarks.prepare", "--route", route), "--grid", grid]
    command += ["--source", str(source), "--small", str(small)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout)


def draw(path: Path, shape: tuple[int, int, int], spacing_mm: tuple[float, float, float]) -> None:
    """Write a phantom chest in HU, axes LPS."""
    from mg3d.phantom.patient import draw_patient
    from mg3d.phantom.scanner import draw_scan
    from mg3d.volumes.orientation import from_canonical
    from mg3d.volumes.volume import write_nifti

    scan = draw_scan(draw_patient(0, 0), shape, spacing_mm)
    affine = np.diag([-spacing_mm[2], -spacing_mm[1], spacing_mm[0], 1.0])
    write_nifti(path, from_canonical(scan.hu, affine), affine, level=6)


def draw_apart(*arguments: Any) -> None:
    """Draw in another process: a process starts with the memory peak of its parent."""
    process = get_context("spawn").Process(target=draw, args=arguments)
    process.start()
    process.join()
    if process.exitcode:
        raise RuntimeError("the phantom could not be drawn; see above")


def main() -> None:
    """Read the command line; see the module's first lines."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3, help="processes of each route")
    parser.add_argument("--large", action="store_true", help="1024 x 1024 x 237 as well")
    for name in ("--route", "--source", "--small", "--grid"):
        parser.add_argument(name, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.route:
        paths = Path(arguments.source), Path(arguments.small)
        line = measure_here(ROUTES[arguments.route], *paths, GRIDS[arguments.grid])
        print(json.dumps(line))
        return
    with tempfile.TemporaryDirectory() as name:
        small, source = Path(name) / "small.nii.gz", Path(name) / "chest.nii.gz"
        draw_apart(small, (24, 64, 64), (12.0, 6.0, 6.0))
        compare(source, small, arguments.repeats)
        if arguments.large:
            shape = (237, 1024, 1024)
            draw_apart(source, shape, (1.5, 0.35, 0.35))
            for grid in GRIDS:
                line = _line("mg3d", shape, source, grid)
                show(line | measure("mg3d", source, small, grid))


def compare(source: Path, small: Path, repeats: int) -> None:
    """Both routes in turn, and the ratios of their medians."""
    shape = (300, 512, 512)
    draw_apart(source, shape, (1.0, 0.7, 0.7))
    for grid in GRIDS:
        runs: dict[str, list[dict[str, float]]] = {route: [] for route in ROUTES}
        for _ in range(repeats):
            for route in ROUTES:
                runs[route].append(measure(route, source, small, grid))
                show(_line(route, shape, source, grid) | runs[route][-1])
        ratios = {
            f"{unit}_ratio": round(
                statistics.median(run[unit] for run in runs["nibabel"])
                / statistics.median(run[unit] for run in runs["mg3d"]),
                2,
            )
            for unit in ("cpu_seconds", "wall_seconds", "peak_mb")
        }
        line = _line("nibabel over mg3d", shape, source, grid)
        show(line | {"repeats": repeats} | ratios)


def _line(route: str, shape: tuple[int, int, int], source: Path, grid: str) -> dict[str, Any]:
    return {
        "benchmark": "prepare",
        "route": route,
        "voxels": "x".join(map(str, shape)),
        "file_bytes": source.stat().st_size,
        "grid": grid,
        "machine": machine() | {"threads": 1},
    }


if __name__ == "__main__":
    main()
