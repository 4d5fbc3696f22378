"""Killed at any moment and started again, a run ends in the bytes of one that was left alone."""

import multiprocessing
import os
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from tqdm import tqdm

from mg3d.data.masks import MaskMeaning
from mg3d.preparation.prepare import (
    DatasetDescription,
    PrepareSettings,
    RunOptions,
    ScanRecord,
    prepare,
)
from mg3d.preparation.shards import Shard, merge
from mg3d.volumes.grid import Grid
from mg3d.volumes.volume import write_nifti

AFFINE = np.diag([-2.0, -2.0, 2.0, 1.0])
SETTINGS = PrepareSettings(grid=Grid((16, 16, 16)))
PATIENTS = 4
pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked here")


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    raw = tmp_path_factory.mktemp("raw")
    made = []
    for number in range(PATIENTS):
        rng = np.random.default_rng(number)
        hu = np.full((24, 22, 20), -1000) + rng.integers(-20, 20, (24, 22, 20))
        hu[4:20, 4:18] = 40 + rng.integers(-20, 20, (16, 14, 20))
        write_nifti(raw / f"p{number}.nii.gz", hu.astype(np.int16), AFFINE)
        masks = np.zeros((24, 22, 20), np.uint8)
        masks[8:16, 6:14, 4:12] = 1
        write_nifti(raw / f"p{number}_seg.nii.gz", masks, AFFINE)
        made.append(
            ScanRecord(
                volume_id=f"p{number}",
                patient_id=f"p{number}",
                scan_id=f"p{number}",
                split="train",
                volume=raw / f"p{number}.nii.gz",
                masks=raw / f"p{number}_seg.nii.gz",
            )
        )
    (raw / "p9.nii.gz").write_bytes(b"no volume")
    bad = {"volume_id": "p9", "patient_id": "p9", "scan_id": "p9", "split": "val"}
    return [*made, ScanRecord(**bad, volume=raw / "p9.nii.gz")]


def run(records, output, shard=None):
    dataset = DatasetDescription(
        source="test",
        root=records[0].volume.parent,
        masks=MaskMeaning("classes", ("lesion",)),
        tables={"points.csv": [{"volume_id": f"p{n}", "x": n} for n in (0, 1, 9)]},
    )
    prepare(records, output, dataset, RunOptions(settings=SETTINGS, shard=shard, workers=0))


def files_of(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*.*")}


@pytest.fixture(scope="module")
def whole(records, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    run(records, folder)
    return files_of(folder)


def in_a_process(work):
    process = multiprocessing.get_context("fork").Process(
        target=with_an_own_lock, args=(work,), daemon=True
    )
    process.start()
    return process


def with_an_own_lock(work):
    """A forked process shares tqdm's lock, and killed while it holds it would lock out the rest."""
    tqdm.set_lock(threading.RLock())
    work()


def die_while_writing(number, records, output, shard=None):
    """Run, and be killed with the `number`-th file half written (0: at once)."""
    written, write = [], Path.write_bytes

    def half(path, content):
        written.append(path)
        if len(written) == number:
            write(path, content[: len(content) // 2])
            os.kill(os.getpid(), signal.SIGKILL)
        return write(path, content)

    Path.write_bytes = half
    run(records, output, shard)


WRITES = 2 * PATIENTS + 5  # masks and volumes, then the five tables


@pytest.mark.parametrize("number", range(1, WRITES + 1))
def test_killed_in_the_middle_of_any_file(number, records, whole, tmp_path):
    process = in_a_process(lambda: die_while_writing(number, records, tmp_path))
    process.join(120)
    assert process.exitcode == -signal.SIGKILL
    assert list(tmp_path.rglob(".*.part"))
    run(records, tmp_path)
    assert files_of(tmp_path) == whole


def test_there_is_no_file_more_to_be_killed_in(records, whole, tmp_path):
    process = in_a_process(lambda: die_while_writing(WRITES + 1, records, tmp_path))
    process.join(120)
    assert process.exitcode == 0
    assert files_of(tmp_path) == whole


def test_killed_again_and_again_at_random_moments(records, whole, tmp_path):
    rng = np.random.default_rng(0)
    for _ in range(8):
        process = in_a_process(lambda: run(records, tmp_path))
        time.sleep(rng.uniform(0, 0.15))
        process.kill()
        process.join(120)
    run(records, tmp_path)
    assert files_of(tmp_path) == whole


@pytest.mark.parametrize("count", [1, 2, 3])
def test_shards_merged_are_one_run_also_if_one_was_killed(count, records, whole, tmp_path):
    killed = in_a_process(lambda: die_while_writing(2, records, tmp_path, Shard(1, count)))
    killed.join(120)
    assert killed.exitcode == -signal.SIGKILL
    for number in range(count, 0, -1):
        run(records, tmp_path, Shard(number, count))
    done = merge(tmp_path)
    assert done.exit_status == 3  # p9
    without = {k: v for k, v in files_of(tmp_path).items() if not k.startswith("parts/")}
    assert without == whole
