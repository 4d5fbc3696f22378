import itertools

import nibabel as nib
import numpy as np
import pytest

from mg3d.volumes.volume import StoredGrid, VolumeError, read_volume, to_original, write_nifti

SHAPE, SPACING, ORIGIN = (4, 5, 6), (3.0, 2.0, 1.5), (-40.0, -100.0, 60.0)  # canonical: h, w, d
ORIENTATIONS = [
    "".join(letters)
    for pairs in itertools.permutations(("RL", "AP", "SI"))
    for letters in itertools.product(*pairs)
]


def hu_like(shape=SHAPE, seed=0):
    return np.random.default_rng(seed).integers(-1000, 1000, shape).astype(np.int16)


def canonical_affine():
    affine = np.zeros((4, 4))
    affine[[2, 1, 0], [0, 1, 2]] = SPACING
    affine[:3, 3], affine[3, 3] = ORIGIN, 1
    return affine


def stored_as(orientation, canonical, affine=None):
    """The same voxels in another order, by nibabel: an independent definition."""
    affine = canonical_affine() if affine is None else affine
    image = nib.Nifti1Image(canonical, affine)
    start = nib.io_orientation(affine)
    end = nib.orientations.axcodes2ornt(tuple(orientation))
    return image.as_reoriented(nib.orientations.ornt_transform(start, end))


def world(affine, index):
    return (affine @ [*index, 1])[:3]


@pytest.fixture
def save(tmp_path):
    def write(image, name="volume.nii.gz"):
        nib.save(image, tmp_path / name)
        return tmp_path / name

    return write


def test_there_are_48_orientations():
    assert len(set(ORIENTATIONS)) == 48


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_any_orientation_becomes_one_array_and_finds_its_way_back(orientation, save):
    marked = hu_like()
    marked[1, 3, 4] = 3000
    image = stored_as(orientation, marked)
    volume = read_volume(save(image))

    assert volume.stored.axes == orientation
    np.testing.assert_array_equal(volume.voxels, marked)
    np.testing.assert_allclose(volume.affine, canonical_affine(), atol=1e-4)
    assert volume.spacing_mm == pytest.approx(SPACING)
    back = to_original(volume.voxels, volume.affine, volume.stored)
    np.testing.assert_array_equal(back, image.get_fdata())
    there = np.argwhere(back == 3000)[0]
    here = world(volume.stored.affine, there)
    np.testing.assert_allclose(here, world(canonical_affine(), (1, 3, 4)), atol=1e-4)


def test_axes_run_up_forwards_and_to_the_patients_right(save):
    volume = read_volume(save(stored_as("LPS", hu_like())))
    steps = volume.affine[:3, :3]
    assert steps[2, 0] > 0  # h: superior
    assert steps[1, 1] > 0  # w: anterior
    assert steps[0, 2] > 0  # d: right
    assert np.count_nonzero(steps) == 3


def test_reading_copies_no_voxel(save):
    assert read_volume(save(stored_as("LPS", hu_like()))).voxels.base is not None


@pytest.mark.parametrize("dtype", ["u1", "i1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8"])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("version", [nib.Nifti1Image, nib.Nifti2Image])
def test_number_types_byte_orders_and_versions(dtype, order, version, save):
    values = np.random.default_rng(0).integers(0, 100, SHAPE).astype(dtype)
    header = version.header_class(endianness=order)
    header.set_data_dtype(np.dtype(dtype))
    volume = read_volume(save(version(values, canonical_affine(), header), "v.nii"))
    np.testing.assert_array_equal(volume.values(), values)
    assert volume.voxels.dtype == np.dtype(dtype).newbyteorder(order)


@pytest.mark.parametrize(
    ("slope", "intercept", "expected"),
    [(1, -1024, (1, -1024)), (2, 0, (2, 0)), (0, 5, (1, 0)), (np.nan, np.nan, (1, 0))],
)
def test_scaling_of_the_header_is_applied_once(slope, intercept, expected, tmp_path):
    voxels = hu_like()
    content = bytearray(nib.Nifti1Image(voxels, canonical_affine()).to_bytes())
    content[112:120] = np.array([slope, intercept], "<f4").tobytes()
    (tmp_path / "v.nii").write_bytes(content)
    volume = read_volume(tmp_path / "v.nii")
    assert (volume.slope, volume.intercept) == expected
    assert volume.warnings == (f"only {min(SHAPE)} slices along one axis",)
    np.testing.assert_allclose(volume.values(), voxels * float(expected[0]) + expected[1])


def test_a_singleton_fourth_axis_is_dropped_with_a_word(save):
    volume = read_volume(save(nib.Nifti1Image(hu_like()[..., None], canonical_affine())))
    np.testing.assert_array_equal(volume.voxels, hu_like())
    assert "further axes of length 1" in volume.warnings[0]


def test_spacing_from_elsewhere_keeps_the_first_voxel_in_place(save):
    volume = read_volume(save(stored_as("LPS", hu_like())))
    other = volume.with_spacing((0.5, 0.6, 5.0))
    assert other.spacing_mm == pytest.approx((5.0, 0.6, 0.5))
    np.testing.assert_allclose(other.stored.affine[:, 3], volume.stored.affine[:, 3])
    assert "the header says 1.5 x 2 x 3 mm" in other.warnings[-1]
    same = volume.with_spacing((1.5, 2.0, 3.0))
    assert same.warnings == volume.warnings
    np.testing.assert_allclose(same.affine, volume.affine)


def test_a_coarse_map_comes_back_where_it_belongs():
    stored = StoredGrid((12, 10, 8), np.diag([-1.0, -1.0, 2.0, 1.0]))
    coarse = np.zeros((4, 5, 6))  # every cell is 4 mm high and 2 x 2 mm wide
    coarse[1, 2, 3] = 1.0
    affine = np.array([[0, 0, 2.0, -10.5], [0, 2.0, 0, -8.5], [4.0, 0, 0, 1], [0, 0, 0, 1]])
    back = to_original(coarse, affine, stored, linear=False)
    found = np.argwhere(back)
    assert len(found) == 2 * 2 * 2
    centre = world(stored.affine, found.mean(0))
    np.testing.assert_allclose(centre, world(affine, (1, 2, 3)))


def test_beyond_a_map_is_what_was_asked_for():
    stored = StoredGrid((6, 6, 6), np.eye(4))
    affine = np.zeros((4, 4))
    affine[[2, 1, 0], [0, 1, 2]] = 1
    affine[3, 3] = 1
    back = to_original(np.ones((3, 3, 3), np.float32), affine, stored, fill=-7)
    assert (back[:3, :3, :3] == 1).all()
    assert (back[3:] == -7).all()


def test_interpolation_on_the_way_back_is_linear():
    stored = StoredGrid((1, 1, 7), np.diag([1, 1, 0.5, 1.0]))
    affine = np.array([[0, 0, 1.0, 0], [0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1]])
    ramp = np.arange(4.0).reshape(4, 1, 1)
    np.testing.assert_allclose(to_original(ramp, affine, stored)[0, 0], np.arange(7) / 2)


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "deep/er/A b.NII.GZ", "göğüs_胸部.nii.gz"])
def test_what_was_written_is_read_again_and_by_nibabel(name, tmp_path):
    image = stored_as("PSR", hu_like())
    write_nifti(tmp_path / name, np.asarray(image.dataobj), image.affine)
    volume = read_volume(tmp_path / name)
    np.testing.assert_array_equal(volume.voxels, hu_like())
    assert volume.stored.axes == "PSR"
    if name.islower():
        other = nib.load(tmp_path / name)
        np.testing.assert_array_equal(other.get_fdata(), image.get_fdata())
        np.testing.assert_allclose(other.affine, image.affine, atol=1e-4)
    assert [path.name for path in tmp_path.rglob("*.part")] == []


def test_writing_twice_gives_the_same_bytes(tmp_path):
    for name in ("a.nii.gz", "b.nii.gz"):
        write_nifti(tmp_path / name, hu_like(), canonical_affine())
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()


def test_a_file_that_could_not_be_written_leaves_nothing(tmp_path, monkeypatch):
    from pathlib import Path

    def disk_full(*_):
        raise OSError("disk full")

    monkeypatch.setattr(Path, "replace", disk_full)
    with pytest.raises(OSError, match="disk full"):
        write_nifti(tmp_path / "a.nii.gz", hu_like(), canonical_affine())
    assert list(tmp_path.iterdir()) == []


def test_a_missing_file_and_a_folder_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"absent\.nii\.gz: there is no such volume"):
        read_volume(tmp_path / "absent.nii.gz")
    with pytest.raises(VolumeError, match="no DICOM slices in it"):
        read_volume(tmp_path)
