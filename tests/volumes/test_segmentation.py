from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from mg3d.volumes.segmentation import check_pair
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
