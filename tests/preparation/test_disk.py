import logging
from dataclasses import replace

import numpy as np
import pytest

from mg3d.data.masks import MaskMeaning
from mg3d.preparation.disk import check_space, estimate_bytes, words
from mg3d.preparation.prepare import (
    DatasetDescription,
    PrepareSettings,
    RunOptions,
    ScanRecord,
    prepare,
)
from mg3d.volumes.grid import Grid
from mg3d.volumes.volume import write_nifti

NO_MASKS = MaskMeaning()


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    raw = tmp_path_factory.mktemp("raw")
    made = []
    for number in range(3):
        hu = np.full((40, 30, 20 + 10 * number), -1000, np.int16)
        hu[10:30] = 40
        write_nifti(raw / f"{number}.nii.gz", hu, np.diag([2.0, 2.0, 3.0, 1.0]))
        ids = dict.fromkeys(("volume_id", "patient_id", "scan_id"), str(number))
        made.append(ScanRecord(**ids, split="train", volume=raw / f"{number}.nii.gz"))
    return made


def dataset(root):
    return DatasetDescription(source="test", root=root)


@pytest.mark.parametrize(
    "grid", [Grid((64, 64, 64)), Grid(None), Grid(None, (1.0, 1.0, 1.0)), Grid(None, (None, 1, 1))]
)
@pytest.mark.parametrize("dtype", ["uint8", "float16"])
def test_the_estimate_is_what_is_then_written(grid, dtype, records, tmp_path):
    settings = PrepareSettings(grid=grid, dtype=dtype)
    prepare(records, tmp_path, dataset(tmp_path), RunOptions(settings=settings, workers=0))
    written = sum(path.stat().st_size for path in (tmp_path / "volumes").rglob("*.*"))
    assert written == pytest.approx(estimate_bytes(records, settings, NO_MASKS), rel=0.12)


def test_what_does_not_fit_is_refused_before_anything_is_made(records, tmp_path, caplog):
    settings = PrepareSettings(grid=Grid((100_000, 100_000, 1000)))
    options = RunOptions(settings=settings, workers=0)
    with (
        caplog.at_level(logging.INFO, logger="mg3d.preparation"),
        pytest.raises(ValueError, match=r"about 31500\.0 GB are needed and .* --force"),
    ):
        prepare(records, tmp_path / "out", dataset(tmp_path), options)
    assert "3 volumes need about 31500.0 GB more" in caplog.text
    assert not (tmp_path / "out").exists()
    check_space(records, settings, NO_MASKS, tmp_path, force=True)


def test_what_is_there_already_needs_no_space(records, tmp_path, caplog):
    settings = PrepareSettings(grid=Grid((100, 100, 100)))
    prepare(records[:2], tmp_path, dataset(tmp_path), RunOptions(settings=settings, workers=0))
    with caplog.at_level(logging.INFO, logger="mg3d.preparation"):
        check_space(records, settings, NO_MASKS, tmp_path)
    assert "need about 1.2 MB more" in caplog.text  # of 3.2 MB


def test_a_file_that_is_gone_is_no_reason_to_stop(records, tmp_path):
    gone = [replace(records[0], volume=tmp_path / "gone.nii.gz"), *records]
    settings = PrepareSettings(grid=Grid(None))
    assert 0 < estimate_bytes(gone, settings, NO_MASKS) < 10**6
    options = RunOptions(settings=settings, workers=0)
    done = prepare(gone[:1] + records[1:], tmp_path, dataset(tmp_path), options)
    assert (done.taken, len(done.refused)) == (2, 1)


@pytest.mark.parametrize(
    ("size", "said"), [(500, "0 kB"), (2_500, "2 kB"), (1_500_000, "1.5 MB"), (3 * 10**9, "3.0 GB")]
)
def test_sizes_in_words(size, said):
    assert words(size) == said
