"""Row 13: a source whose bytes changed is made again, whatever its clock says; no other is."""

import os
import zlib
from dataclasses import replace

import numpy as np
import pytest

from data_prep.phantom.layouts.metaimage import write_metaimage
from data_prep.phantom.layouts.slices import write_slices
from mg3d.data.masks import MaskMeaning, read_masks
from mg3d.data.prepared import read_array
from mg3d.preparation.prepare import (
    DatasetDescription,
    PrepareSettings,
    RunOptions,
    ScanRecord,
    prepare,
)
from mg3d.preparation.sources import END, files_of, fingerprint
from mg3d.volumes.grid import Grid
from mg3d.volumes.intensity import EightBit
from mg3d.volumes.volume import write_nifti

SETTINGS = PrepareSettings(grid=Grid(None))
AFFINE = np.diag([-2.0, -2.0, 2.0, 1.0])
OLD = 1_000_000_000 * 10**9  # ns: 2001


def chest(seed):
    rng = np.random.default_rng(seed)
    hu = np.full((24, 22, 20), -1000) + rng.integers(-20, 20, (24, 22, 20))
    hu[4:20, 4:18] = 40 + rng.integers(-20, 20, (16, 14, 20))
    return hu.astype(np.int16)


def write_nii(folder, seed):
    write_nifti(folder / "scan.nii", chest(seed), AFFINE)
    return folder / "scan.nii"


def write_gz(folder, seed):
    path = folder / "scan.nii.gz"
    write_nifti(path, chest(seed), AFFINE, level=0)  # stored: always the same size
    return path


def write_mha(folder, seed):
    write_metaimage(folder / "scan.mha", chest(seed).transpose(2, 1, 0), AFFINE)
    return folder / "scan.mha"


def write_mhd(folder, seed):
    path = folder / "scan.mhd"
    write_metaimage(path, chest(seed).transpose(2, 1, 0), AFFINE)
    path.with_suffix(".raw").rename(folder / "voxels of the scan.bin")
    text = path.read_text().replace("= scan.raw", "= voxels of the scan.bin")
    path.write_text(text)
    return path


def write_pictures(folder, seed):
    from PIL import Image

    for number in range(12):
        grey = (chest(seed)[number] + 1024).clip(0, 255).astype(np.uint8)
        (folder / "scan").mkdir(exist_ok=True)
        Image.fromarray(grey).save(folder / "scan" / f"{number:03d}.png", compress_level=0)
    return folder / "scan"


WRITERS = (write_nii, write_gz, write_mha, write_mhd, write_pictures)


def run(path, output, masks=None):
    """Prepare one volume; whether it was kept, and its voxels."""
    ids = dict.fromkeys(("volume_id", "patient_id", "scan_id"), "v")
    record = ScanRecord(**ids, split="train", volume=path, masks=masks)
    settings = replace(SETTINGS, intensity=EightBit()) if path.is_dir() else SETTINGS
    dataset = DatasetDescription(
        source="test", root=path.parent, masks=MaskMeaning("classes", ("a",))
    )
    done = prepare([record], output, dataset, RunOptions(settings=settings, workers=0))
    assert done.taken == 1, done.refused
    return done.kept == 1, read_array(output / "volumes/train/v.safetensors", "volume")


def times_of(path):
    return {file: file.stat() for file in files_of(path)}


@pytest.mark.parametrize("write", WRITERS, ids=lambda write: write.__name__)
@pytest.mark.parametrize("clock", ["older", "the same", "newer"])
def test_row_13_a_replaced_source_is_made_again_whatever_its_time(write, clock, tmp_path):
    source = tmp_path / "raw"
    source.mkdir()
    path = write(source, 0)
    before = times_of(path)
    kept, first = run(path, tmp_path / "out")
    assert not kept
    assert run(path, tmp_path / "out")[0]
    assert write(source, 1) == path
    for file, stat in before.items():
        assert file.stat().st_size == stat.st_size
        if clock != "newer":
            time = OLD if clock == "older" else stat.st_mtime_ns
            os.utime(file, ns=(time, time))
    kept, second = run(path, tmp_path / "out")
    assert not kept
    _, fresh = run(path, tmp_path / "fresh")
    assert np.array_equal(second, fresh) and not np.array_equal(second, first)


@pytest.mark.parametrize("write", WRITERS, ids=lambda write: write.__name__)
def test_row_13_a_source_that_only_has_another_time_is_kept(write, tmp_path):
    path = write(tmp_path, 0)
    run(path, tmp_path / "out")
    for time in (OLD, 4 * OLD):
        for file in files_of(path):
            os.utime(file, ns=(time, time))
        assert run(path, tmp_path / "out")[0]


def test_row_13_any_one_byte_of_an_unpacked_file_counts(tmp_path):
    path = write_nii(tmp_path, 0)
    content = path.read_bytes()
    seen = {fingerprint(path)}
    for place in (8, 352, len(content) // 2, len(content) - 1):
        changed = bytearray(content)
        changed[place] ^= 1
        path.write_bytes(bytes(changed))
        seen.add(fingerprint(path))
    path.write_bytes(content + b"\0")
    assert len(seen | {fingerprint(path)}) == 6
    path.write_bytes(content)
    assert fingerprint(path) in seen


def test_row_13_any_voxel_of_a_packed_file_counts_though_only_its_ends_are_read(tmp_path):
    path, seen = tmp_path / "scan.nii.gz", set()
    voxels = np.random.default_rng(0).integers(0, 999, (64, 64, 64)).astype(np.int16)
    for place in range(0, voxels.size, 37_449):  # 8 of them, far from both ends
        changed = voxels.copy()
        changed.flat[place] += 1
        write_nifti(path, changed, AFFINE, level=0)
        assert path.stat().st_size > 3 * END
        seen.add((path.stat().st_size, fingerprint(path)))
    assert len({size for size, _ in seen}) == 1
    assert len(seen) == 8


def test_row_13_any_voxel_of_a_zip_counts_too(tmp_path):
    path, seen = tmp_path / "scan.npz", set()
    voxels = np.random.default_rng(0).integers(0, 999, (64, 64, 64)).astype(np.int16)
    for place in range(0, voxels.size, 37_449):
        changed = voxels.copy()
        changed.flat[place] += 1
        np.savez(path, ct=changed)
        seen.add((path.stat().st_size, fingerprint(path)))
    assert (len({size for size, _ in seen}), len(seen)) == (1, 8)


def test_row_13_the_file_that_a_header_names_belongs_to_the_source(tmp_path):
    path = write_mhd(tmp_path, 0)
    assert [file.name for file in files_of(path)] == ["scan.mhd", "voxels of the scan.bin"]
    (tmp_path / "scan.raw").write_bytes(b"somebody else's")
    assert len(files_of(path)) == 2
    path.write_text("no header")
    assert files_of(path) == [path]  # reading it says what is wrong


@pytest.mark.parametrize("name", ["scan.mha", "scan.MHD", "scan"])
def test_row_13_a_header_of_any_name_may_name_its_voxels(name, tmp_path):
    path = write_mhd(tmp_path, 0).rename(tmp_path / name)
    voxels = tmp_path / "voxels of the scan.bin"
    before, changed = fingerprint(path), bytearray(voxels.read_bytes())
    changed[100] ^= 1
    voxels.write_bytes(changed)
    assert files_of(path) == [path, voxels]
    assert fingerprint(path) != before


def test_row_13_slices_that_changed_places_are_another_scan(tmp_path):
    write_slices(tmp_path / "scan", chest(0).astype(np.uint8), "{:04d}.png")
    before = fingerprint(tmp_path / "scan")
    one, two = (tmp_path / "scan" / f"{number:04d}.png" for number in (3, 4))
    one.rename(tmp_path / "other")
    two.rename(one)
    (tmp_path / "other").rename(two)
    assert fingerprint(tmp_path / "scan") != before


def test_row_13_slices_that_were_renumbered_are_another_scan(tmp_path):
    for name, content in (("10.png", b"a"), ("9.png", b"b")):  # by number: b, a
        (tmp_path / name).write_bytes(content)
    before = fingerprint(tmp_path)
    (tmp_path / "10.png").rename(tmp_path / "1.png")  # a, b; the listing is the same
    (tmp_path / "9.png").rename(tmp_path / "2.png")
    assert fingerprint(tmp_path) != before


def test_row_13_replaced_masks_are_made_again_too(tmp_path):
    path = write_nii(tmp_path, 0)
    masks = np.zeros((24, 22, 20), np.uint8)
    masks[4:8] = 1
    write_nifti(tmp_path / "seg.nii", masks, AFFINE)
    run(path, tmp_path / "out", tmp_path / "seg.nii")
    write_nifti(tmp_path / "seg.nii", np.roll(masks, 3, 0), AFFINE)
    os.utime(tmp_path / "seg.nii", ns=(OLD, OLD))
    assert not run(path, tmp_path / "out", tmp_path / "seg.nii")[0]
    found = read_masks(tmp_path / "out/masks/train/v.safetensors").numpy()
    assert np.argwhere(found).min(0).tolist() == [0, 0, 13]  # canonical: 23 - 10 from the right


def test_the_last_bytes_of_a_gzip_file_are_a_checksum_of_all_of_it(tmp_path):
    content = bytes(range(256)) * 4096
    packer = zlib.compressobj(1, zlib.DEFLATED, 31)
    packed = packer.compress(content) + packer.flush()
    assert int.from_bytes(packed[-8:-4], "little") == zlib.crc32(content)
