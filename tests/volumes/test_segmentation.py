from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from mg3d.volumes.grid import Grid, classes_to_grid, to_grid
from mg3d.volumes.segmentation import check_grids, check_pair
from mg3d.volumes.volume import VolumeError, read_volume

SHAPE = (20, 21, 22)
AFFINE = np.diag([-0.8, -0.8, 2.0, 1.0])

PAIRS = {
    "label_shape_mismatch.nii.gz": (
        r"shape \(62, 64, 24\), but its image .*ok_reference.nii.gz has \(64, 64, 24\)"
    ),
    "label_affine_mismatch.nii.gz": r"lies up to 40.0 mm off its image .*ok_reference.nii.gz",
    "label_unexpected_value.nii.gz": "label 7 outside the declared classes 0, 1",
    "label_non_integer.nii.gz": "non-integer label 0.5",
}


@pytest.mark.parametrize("name", PAIRS)
def test_a_label_that_does_not_fit_its_image_is_refused_by_name_and_reason(name, shared_data):
    folder = shared_data / "broken"
    assert {path.name for path in (folder / "pairs").iterdir()} == PAIRS.keys()
    image = read_volume(folder / "volumes" / "ok_reference.nii.gz")
    label = read_volume(folder / "pairs" / name)
    with pytest.raises(VolumeError, match=PAIRS[name]) as error:
        check_pair(image, label, (0, 1))
    assert name in str(error.value)


def saved(path: Path, voxels, affine=AFFINE):
    nib.save(nib.Nifti1Image(voxels, affine), path)
    return read_volume(path)


def drawn(dtype=np.uint8):
    label = np.zeros(SHAPE, dtype)
    label[3:9, 4:8, 5:7] = 1
    return label


@pytest.fixture
def image(tmp_path):
    return saved(tmp_path / "image.nii.gz", np.zeros(SHAPE, np.int16))


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32, np.float64])
def test_a_good_label_comes_back_as_whole_numbers(dtype, image, tmp_path):
    label = saved(tmp_path / "label.nii.gz", drawn(dtype))
    classes = check_pair(image, label, (0, 1))
    assert classes.dtype == np.uint8
    assert classes.sum() == drawn().sum()
    np.testing.assert_array_equal(classes, read_volume(tmp_path / "label.nii.gz").voxels)


def test_a_label_stored_along_other_axes_fits_all_the_same(image, tmp_path):
    nifti = nib.Nifti1Image(drawn(), AFFINE)
    turned = nifti.as_reoriented(np.array([[2, -1], [0, 1], [1, -1]]))
    nib.save(turned, tmp_path / "turned.nii.gz")
    expected = check_pair(image, saved(tmp_path / "label.nii.gz", drawn()), (0, 1))
    result = check_pair(image, read_volume(tmp_path / "turned.nii.gz"), (0, 1))
    np.testing.assert_array_equal(result, expected)


def test_a_scaled_label_is_scaled_before_it_is_judged(image, tmp_path):
    label = saved(tmp_path / "label.nii.gz", drawn())
    doubled = replace(label, slope=2.0)
    np.testing.assert_array_equal(check_pair(image, doubled, (0, 2)), 2 * label.voxels)
    with pytest.raises(VolumeError, match=r"non-integer label 0\.5"):
        check_pair(image, replace(label, slope=0.5), (0, 1))


def test_large_and_negative_classes_keep_their_values(image, tmp_path):
    for value, classes in ((300, (0, 300)), (-1, (0, -1))):
        label = saved(tmp_path / "label.nii.gz", drawn(np.int16) * value)
        result = check_pair(image, label, classes)
        assert sorted(np.unique(result)) == sorted(classes)


MOVED = AFFINE + np.outer([0, 0, 1, 0], [0, 0, 0, 9.0])


@pytest.mark.parametrize(
    ("voxels", "affine", "reason"),
    [
        (drawn()[1:], AFFINE, r"shape \(19, 21, 22\), but its image .*image\.nii\.gz has"),
        (drawn(), MOVED, r"lies up to 9\.0 mm off its image .*image\.nii\.gz"),
        (drawn(), AFFINE @ np.diag([1.1, 1, 1, 1]), "mm off its image"),
        (drawn() * 7, AFFINE, "label 7 outside the declared classes 0, 1"),
        (drawn() * np.float32(0.5), AFFINE, r"non-integer label 0\.5"),
    ],
)
def test_a_mismatch_made_here_is_refused_by_name(voxels, affine, reason, image, tmp_path):
    label = saved(tmp_path / "label.nii.gz", voxels, affine)
    with pytest.raises(VolumeError, match=r"label\.nii\.gz: .*" + reason):
        check_pair(image, label, (0, 1))


def packed(path, values, dtype, affine=AFFINE):
    """Saved by nibabel from floating point numbers with an integer header."""
    nifti = nib.Nifti1Image(values.astype(np.float64), affine)
    nifti.set_data_dtype(dtype)
    nib.save(nifti, path)
    return read_volume(path)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int32])
@pytest.mark.parametrize("most", [1, 2, 3, 4, 7, 13])
def test_08_labels_that_nibabel_has_scaled_are_whole_again(dtype, most, image, tmp_path):
    """255 x 0.003921569 is 1.00000006, and 128 x 0.00784 is 1.0039."""
    values = np.arange(np.prod(SHAPE)).reshape(SHAPE) % (most + 1)
    label = packed(tmp_path / "label.nii.gz", values, dtype)
    assert label.slope != 1
    classes = check_pair(image, label, range(most + 1))
    assert classes.dtype == np.uint8
    np.testing.assert_array_equal(classes, values[::-1, ::-1].transpose(2, 1, 0))


@pytest.mark.parametrize("value", [0.9999999, 1.0000001, 0.9993, 1.0009])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_08_a_label_a_little_off_is_rounded_and_not_cut(value, dtype, image, tmp_path):
    label = saved(tmp_path / "label.nii.gz", drawn(dtype) * dtype(value))
    assert check_pair(image, label, (0, 1)).sum() == drawn().sum()


def test_08_nan_and_interpolated_labels_are_refused_still(image, tmp_path):
    for values in (drawn(np.float32) * np.float32(0.998), drawn(np.float32) * np.float32(1.0011)):
        with pytest.raises(VolumeError, match=r"non-integer label (0\.998|1\.0011)"):
            check_pair(image, saved(tmp_path / "label.nii.gz", values), (0, 1))
    smooth = np.linspace(0, 2, int(np.prod(SHAPE))).reshape(SHAPE)
    with pytest.raises(VolumeError, match="non-integer label"):
        check_pair(image, packed(tmp_path / "label.nii.gz", smooth, np.uint8), (0, 1, 2))


def test_29_a_label_whose_spacing_is_rounded_fits_the_grid_of_its_image(tmp_path):
    shape = (6, 7, 67)
    image = saved(
        tmp_path / "image.nii.gz", np.zeros(shape, np.int16), np.diag([-1, -1, 1.51118, 1])
    )
    field = np.arange(np.prod(shape)).reshape(shape).astype(np.uint8) % 2
    label = saved(tmp_path / "label.nii.gz", field, np.diag([-1, -1, 1.51122, 1]))
    check_grids(image, label)
    placed = replace(image, voxels=label.voxels)
    for spacing in np.random.default_rng(0).uniform(0.5, 3, 50):
        grid = Grid(None, (spacing, None, None))
        assert classes_to_grid(placed, grid, 1).shape == to_grid(image, grid).voxels.shape


@pytest.mark.parametrize(
    ("change", "one"),
    [
        (np.diag([1, 1, 1.00002, 1]), True),
        (np.diag([1, 1, 1.02, 1]), True),  # 0.4 of 20 voxels
        (np.diag([1, 1, 1.03, 1]), False),
        (np.array([[1, 0, 0, 0.4], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]]), True),
        (np.array([[1, 0, 0, 0.6], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]]), False),
        (np.diag([1, 1, -1, 1]), False),
    ],
)
def test_29_two_grids_are_one_up_to_half_a_voxel_at_the_corners(change, one, tmp_path):
    affine = np.diag([-0.8, -0.8, 2.0, 1.0])
    image = saved(tmp_path / "image.nii.gz", np.zeros(SHAPE, np.int16), affine)
    label = saved(tmp_path / "label.nii.gz", drawn(), affine @ change)
    if one:
        check_grids(image, label)
    else:
        with pytest.raises(VolumeError, match="mm off its image"):
            check_grids(image, label)
