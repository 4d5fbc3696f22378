"""Real scans: what the header says of the axes is what the anatomy shows, there and back."""

import zlib

import numpy as np
import pytest
from dicom_series import affine_of_series, hu_of_series, series, write_series

from mg3d.volumes.grid import Grid, to_grid
from mg3d.volumes.rescale import decide_rescale, rescale
from mg3d.volumes.volume import read_slices, read_volume, to_original, write_nifti

WHOLE_CHESTS = (
    "chest_lungdx_A0001_kernelB.nii.gz",
    "chest_ricord1a_001012_every2nd_xy.nii.gz",
)
CHESTS = (*WHOLE_CHESTS, "chest_ibsi_lungtumour/dicom", "chest_ibsi_lungtumour/phantom.nii.gz")


@pytest.fixture
def chest(shared_data):
    """A scan in HU on about 3 mm, axes h (up), w (forwards), d (to the patient's right)."""

    def read(name):
        volume = read_volume(shared_data / "volumes" / name)
        volume = rescale(volume, decide_rescale(volume))
        steps = [max(1, round(3 / mm)) for mm in volume.spacing_mm]
        return volume, volume.values()[:: steps[0], :: steps[1], :: steps[2]]

    return read


def place(mask, axis):
    """Where a mask lies along an axis on average, 0 to 1."""
    return float(np.nonzero(mask)[axis].mean() / mask.shape[axis])


@pytest.mark.parametrize("name", WHOLE_CHESTS)
def test_anatomy_lies_where_the_header_says(name, chest):
    from scipy.ndimage import label

    _, hu = chest(name)
    height, _, depth = hu.shape
    parts, _ = label(hu > -300)
    body = parts == np.bincount(parts.ravel())[1:].argmax() + 1
    right, left = slice(depth // 2, None), slice(None, depth // 2)

    # Back: along the body's middle, bone is mostly the spine, behind the body's centre.
    across = np.flatnonzero(body.any(axis=(0, 1)))
    middle = int((across[0] + across[-1]) / 2)
    band = slice(middle - depth // 12, middle + depth // 12)
    core = slice(height // 4, 3 * height // 4)
    rows = np.flatnonzero(body[core, :, band].any(axis=(0, 2)))
    assert place((hu > 250)[core, :, band], 1) < place(body[core, :, band], 1)
    # Below the back: the table; in front of the chest: air.
    behind, before = hu[core, : rows[0] - 1, band], hu[core, rows[-1] + 2 :, band]
    assert np.mean(behind > -800) > 3 * np.mean(before > -800)
    # Right: the liver fills the lowest fifth.
    soft = (hu > 0) & (hu < 200)
    lowest = soft[: height // 5]
    assert lowest[:, :, right].mean() > 1.2 * lowest[:, :, left].mean()
    # Up: air enclosed in the body is lung, broad above the liver and narrow at its top.
    air, _ = label(hu < -500)
    outside = np.unique(np.concatenate([air[:, [0, -1]].ravel(), air[:, :, [0, -1]].ravel()]))
    lungs = (air > 0) & ~np.isin(air, outside)
    assert lungs[round(0.3 * height)].sum() > 2 * lungs[round(0.9 * height)].sum()
    assert -950 < np.median(hu[lungs]) < -700


@pytest.mark.parametrize("name", CHESTS[2:])
def test_a_part_of_a_right_chest_shows_it_too(name, chest):
    _, hu = chest(name)
    height = len(hu)
    assert place(hu > 300, 1) < 0.4  # the spine, behind
    assert place(hu > 300, 2) < 0.5  # and towards the body's middle, left of the right lung
    air = hu < -950
    assert air[:, :, -4:].mean() > 4 * air[:, :, :4].mean()  # beside the patient's right arm
    lung = (hu > -950) & (hu < -500)
    assert lung[-height // 5 :].mean() > 3 * lung[: height // 5].mean()  # above the liver


@pytest.mark.parametrize("name", CHESTS)
def test_a_marked_voxel_of_a_real_scan_finds_its_way_back_exactly(name, shared_data, tmp_path):
    """Written with one marked voxel, read, brought to its own grid, and laid over the file."""
    original = read_volume(shared_data / "volumes" / name)
    marked = np.full(original.stored.shape, -1000, np.int16)
    where = tuple(n * k // 7 for n, k in zip(marked.shape, (2, 3, 5), strict=True))
    marked[where] = 3000
    write_nifti(tmp_path / "marked.nii.gz", marked, original.stored.affine)
    volume = read_volume(tmp_path / "marked.nii.gz")
    shape = volume.voxels.shape
    on_grid = to_grid(volume, Grid(shape, volume.spacing_mm))
    back = to_original(on_grid.voxels, on_grid.affine, volume.stored)
    np.testing.assert_allclose(back, marked, atol=1e-3)
    assert np.argwhere(back > 0).tolist() == [list(where)]
    np.testing.assert_allclose(volume.stored.affine, original.stored.affine, atol=1e-3)


def dicom(folder, hu):
    return read_volume(write_series(folder / "scan", series(hu)))


def metaimage(folder, hu):
    header = (
        "ObjectType = Image\nNDims = 3\nBinaryData = True\nBinaryDataByteOrderMSB = False\n"
        "CompressedData = True\nTransformMatrix = 1 0 0 0 1 0 0 0 1\nOffset = -60 -70 -200\n"
        "ElementSpacing = 0.7 0.8 2.5\nDimSize = {} {} {}\nElementType = MET_SHORT\n"
        "ElementDataFile = LOCAL\n"
    ).format(*hu.shape)
    packed = zlib.compress(hu.astype("<i2").tobytes(order="F"))
    (folder / "scan.mha").write_bytes(header.encode() + packed)
    return read_volume(folder / "scan.mha")


def nifti(folder, hu):
    write_nifti(folder / "scan.nii.gz", hu, affine_of_series())
    return read_volume(folder / "scan.nii.gz")


def slices(folder, hu):
    from PIL import Image

    (folder / "scan").mkdir()
    for number in range(hu.shape[2]):
        grey = np.uint8(np.clip(hu[:, :, number].T, 0, 255))
        Image.fromarray(grey).save(folder / "scan" / f"{number}.png")
    return read_slices(folder / "scan", spacing_mm=(0.7, 0.8, 2.5))


@pytest.mark.parametrize("form", [dicom, metaimage, nifti, slices])
def test_a_marked_voxel_of_any_format_finds_its_way_back_exactly(form, tmp_path):
    hu = np.zeros(hu_of_series().shape, np.int16)
    hu[2, 6, 5] = 200
    volume = form(tmp_path, hu)
    grid = Grid(volume.voxels.shape, volume.spacing_mm)
    on_grid = to_grid(volume, grid)
    back = to_original(on_grid.voxels, on_grid.affine, volume.stored)
    assert np.argwhere(np.rint(back) == 200).tolist() == [[2, 6, 5]]
    twice = Grid(tuple(2 * n for n in grid.shape), tuple(s / 2 for s in grid.spacing_mm))
    finer = to_grid(volume, twice)
    place_of_most = np.unravel_index(finer.voxels.argmax(), finer.voxels.shape)
    world = finer.affine @ [*place_of_most, 1]
    expected = volume.stored.affine @ [2, 6, 5, 1]
    np.testing.assert_array_less(np.abs(world - expected)[:3], [0.2, 0.21, 0.63])


@pytest.mark.parametrize("form", [dicom, metaimage])
def test_one_scan_in_two_formats_is_one_volume(form, tmp_path):
    hu = hu_of_series()
    volume, other = form(tmp_path, hu), nifti(tmp_path, hu)
    np.testing.assert_array_equal(volume.values(), other.values())
    np.testing.assert_allclose(volume.affine, other.affine, atol=1e-4)
    assert volume.stored.axes == other.stored.axes == "LPS"
