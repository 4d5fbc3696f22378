"""Loading speed of the prepared form: random crops and whole volumes, warm page cache, one core.

`python -m benchmarks.loading` writes prepared volumes of random voxels into a temporary folder and
prints one JSON line per measurement. A read opens its file anew, as a data set with thousands of
volumes does. Rates are per second of processor time (both of user and system), so that a machine
that does something else as well gives the same numbers; the wall clock's are beside them.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from benchmarks.measure import machine, show
from mg3d.data.manifest import read_voxels
from mg3d.data.prepared import read_array, read_crop, write_array, write_masks

CROP = (128, 128, 96)


def measure(read: Callable[[], object], seconds: float) -> dict[str, float]:
    """Calls of `read` per second, after a warm-up."""
    for _ in range(5):
        read()
    reads, wall, used = 0, time.perf_counter(), time.process_time()
    while time.process_time() - used < seconds:
        read()
        reads += 1
    used, wall = time.process_time() - used, time.perf_counter() - wall
    return {"per_cpu_second": round(reads / used, 1), "per_wall_second": round(reads / wall, 1)}


def crops(path: Path, shape: tuple[int, int, int], seed: int) -> Callable[[], torch.Tensor]:
    """Reads a random crop as float32, 0 to 1."""
    generator = np.random.default_rng(seed)

    def read() -> torch.Tensor:
        start = [int(generator.integers(n - c + 1)) for n, c in zip(shape, CROP, strict=True)]
        voxels = torch.from_numpy(read_crop(path, (start[0], start[1], start[2]), CROP))
        return voxels.float().div_(255) if voxels.dtype == torch.uint8 else voxels.float()

    return read


def mask_sizes(folder: Path, seed: int, patients: int = 32) -> dict[str, object]:
    """Bytes of a phantom patient's masks, plain and as `write_masks` stores them."""
    from mg3d.phantom.patient import draw_patient
    from mg3d.phantom.scanner import draw_scan

    plain, small = [], []
    for patient in range(patients):
        scan = draw_scan(draw_patient(seed, patient), (48, 32, 48), (7.5, 7.5, 7.5))
        masks = scan.masks.astype(np.int32)
        write_array(folder / "plain", "masks", masks, {})
        write_masks(folder / "small", masks, {})
        if not np.array_equal(read_array(folder / "small", "masks"), masks):
            raise RuntimeError(f"the masks of patient {patient} did not come back")
        plain.append((folder / "plain").stat().st_size)
        small.append((folder / "small").stat().st_size)
    means = {"plain_bytes": round(np.mean(plain)), "small_bytes": round(np.mean(small))}
    return {"masks": "mean of a phantom patient", "patients": patients, **means}


def main() -> None:
    """Read the command line; see the module's first lines."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each measurement")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    generator = np.random.default_rng(arguments.seed)
    where = {"benchmark": "loading", "machine": machine()}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for shape in ((256, 256, 128), (240, 480, 480)):
            for dtype in ("uint8", "float16"):
                path = folder / f"{dtype}.safetensors"
                voxels = generator.integers(0, 256, shape, dtype=np.uint8)
                array = voxels if dtype == "uint8" else (voxels / np.float32(255)).astype(dtype)
                write_array(path, "volume", array, {})
                read = crops(path, shape, arguments.seed)
                line = {"read": "random crop", "crop": CROP, "of": shape, "dtype": dtype}
                show(where | line | measure(read, arguments.seconds))
        for dtype in ("uint8", "float16"):
            path, shape = folder / f"{dtype}.safetensors", (128, 96, 128)
            write_array(path, "volume", np.ones(shape, dtype), {})
            line = {"read": "whole volume", "of": shape, "dtype": dtype}
            rates = measure(lambda path=path: read_voxels(path), arguments.seconds)
            show(where | line | rates)
        show(where | mask_sizes(folder, arguments.seed))


if __name__ == "__main__":
    main()
