"""A geometry is believed where its statements agree; else the better one, with a warning."""

import nibabel as nib
import numpy as np
import pytest

from mg3d.volumes.grid import Grid, to_grid
from mg3d.volumes.volume import VolumeError, read_volume, to_original

SHAPE = (21, 26, 20)
ACDC = (1.5625, 1.5625, 10.0)


def voxels(shape=SHAPE):
    return np.random.default_rng(0).integers(0, 1200, shape).astype(np.int16)


def write(path, sform, pixdim, *, sform_code=2, qform_code=0, offset=(5.0, -7.0, 9.0), **fields):
    """A file whose header states these two geometries, whatever they say."""
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = sform, offset
    image = nib.Nifti1Image(voxels(), np.diag([-1.0, -1.0, 1.0, 1.0]))
    header = image.header
    header["sform_code"], header["qform_code"] = sform_code, qform_code
    header["srow_x"], header["srow_y"], header["srow_z"] = affine[:3]
    header["pixdim"][1:4] = pixdim
    for name, value in fields.items():
        header[name] = value
    path.write_bytes(header.binaryblock + bytes(4) + voxels().tobytes(order="F"))
    return path


@pytest.mark.parametrize("qform_code", [0, 1])
@pytest.mark.parametrize("sform_code", [1, 2])
def test_r1_lengths_come_from_pixdim_where_the_sform_has_unit_steps(
    qform_code, sform_code, tmp_path
):
    path = write(tmp_path / "patient001_frame01.nii", np.diag([-1, -1, 1]), ACDC,
                 sform_code=sform_code, qform_code=qform_code)  # fmt: skip
    volume = read_volume(path)
    expected = np.diag([-1.5625, -1.5625, 10, 1])
    expected[:3, 3] = 5, -7, 9
    np.testing.assert_allclose(volume.stored.affine, expected)
    assert volume.spacing_mm == pytest.approx((10, 1.5625, 1.5625))
    np.testing.assert_array_equal(
        to_original(volume.voxels, volume.affine, volume.stored), voxels()
    )
    assert (
        "unit steps, but pixdim states another spacing, which was taken: 1.562 x"
        in (volume.warnings[0])
    )


def test_r1_an_acdc_frame_comes_to_the_grid_of_its_true_size(tmp_path):
    path = write(tmp_path / "a.nii", np.diag([-1, -1, 1]), ACDC)
    on_grid = to_grid(read_volume(path), Grid(None, (None, 1.5, 1.5)))
    assert on_grid.voxels.shape == (20, round(26 * 1.5625 / 1.5), round(21 * 1.5625 / 1.5))


def test_r1_unit_steps_along_other_axes_get_the_lengths_of_their_own_axes(tmp_path):
    turned = np.array([[0, 0, 1.0], [-1, 0, 0], [0, 1, 0]])
    volume = read_volume(write(tmp_path / "a.nii", turned, (0.5, 0.6, 4.0)))
    np.testing.assert_allclose(volume.stored.affine[:3, :3], turned * (0.5, 0.6, 4.0))


def test_r1_unit_steps_in_a_rotated_sform_are_known_by_their_length(tmp_path):
    cosine, sine = np.cos(0.3), np.sin(0.3)
    turned = np.array([[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1]])
    volume = read_volume(write(tmp_path / "a.nii", turned, (0.7, 0.7, 3.0)))
    np.testing.assert_allclose(volume.stored.affine[:3, :3], turned * (0.7, 0.7, 3.0), atol=1e-6)


def test_r1_two_spacings_that_are_both_meant_are_refused(tmp_path):
    path = write(tmp_path / "p017.nii", np.diag([-0.8, -0.8, 2.0]), (0.7, 0.7, 2.0))
    with pytest.raises(VolumeError, match=r"sform states .* 0\.8 x 0\.8 x 2 mm, pixdim 0\.7 x"):
        read_volume(path)


@pytest.mark.parametrize("qform_code", [0, 1])
def test_r1_swapped_spacings_are_refused(qform_code, tmp_path):
    path = write(tmp_path / "a.nii", np.diag([-0.8, -0.8, 2.0]), (2.0, 0.8, 0.8),
                 qform_code=qform_code)  # fmt: skip
    with pytest.raises(VolumeError, match="which is right"):
        read_volume(path)


@pytest.mark.parametrize("pixdim", [(1, 1, 1), (0, 0, 0), (0.8, 0.8, 0), (np.nan, 1, 1)])
def test_r1_a_pixdim_that_says_nothing_leaves_the_sform_with_a_warning(pixdim, tmp_path):
    volume = read_volume(write(tmp_path / "a.nii", np.diag([-0.8, -0.8, 2.0]), pixdim))
    assert volume.spacing_mm == pytest.approx((2.0, 0.8, 0.8))
    assert "pixdim states no spacing that fits the sform" in volume.warnings[0]


@pytest.mark.parametrize("pixdim", [(0.8, 0.8, 2.0), (0.805, 0.8, 2.01), (-0.8, 0.8, 2.0)])
def test_statements_within_a_hundredth_agree(pixdim, tmp_path):
    volume = read_volume(write(tmp_path / "a.nii", np.diag([-0.8, -0.8, 2.0]), pixdim))
    assert volume.spacing_mm == pytest.approx((2.0, 0.8, 0.8))
    assert volume.warnings == ()


@pytest.mark.parametrize("between", [2.5, np.hypot(2.5, 0.8)])
def test_the_distance_between_tilted_slices_may_be_stated_either_way(between, tmp_path):
    sheared = np.array([[-0.8, 0, 0], [0, -0.7, 0.8], [0, 0, 2.5]])
    volume = read_volume(write(tmp_path / "a.nii", sheared, (0.8, 0.7, between)))
    assert [w.split(":")[0] for w in volume.warnings] == ["sheared"]
    np.testing.assert_allclose(volume.stored.affine[:3, :3], sheared, atol=1e-6)


def test_a_negative_spacing_counts_without_its_sign_and_is_mentioned(tmp_path):
    path = write(tmp_path / "a.nii", np.eye(3), (-0.8, 0.7, -2.0), sform_code=0, qform_code=1)
    volume = read_volume(path)
    assert volume.spacing_mm == pytest.approx((2.0, 0.7, 0.8))
    assert "a negative spacing in the header was taken without its sign" in volume.warnings


@pytest.mark.parametrize(("unit", "length"), [(1, 0.001), (3, 1000)])
def test_unit_steps_are_found_in_metres_and_micrometres_too(unit, length, tmp_path):
    """An sform of ones means nothing in any unit."""
    pixdim = np.array(ACDC) * length
    path = write(tmp_path / "a.nii", np.diag([-1, -1, 1]), pixdim, xyzt_units=unit)
    volume = read_volume(path)
    assert volume.spacing_mm == pytest.approx((10, 1.5625, 1.5625))
    assert "converted to mm" in volume.warnings[1]


def test_a_unit_that_nifti_does_not_define_is_mentioned(tmp_path):
    path = write(tmp_path / "a.nii", np.diag([-0.8, -0.8, 2.0]), (0.8, 0.8, 2), xyzt_units=5)
    said = "lengths in unit 5, which NIfTI does not define; taken as mm"
    assert read_volume(path).warnings == (said,)


def test_a_volume_longer_than_any_patient_is_mentioned(tmp_path):
    nib.save(
        nib.Nifti1Image(np.zeros((2, 2, 31), np.int16), np.diag([7, 7, 98, 1])), tmp_path / "a.nii"
    )
    assert (
        "the volume is 3.04 m long; are the header's units right?"
        in read_volume(tmp_path / "a.nii").warnings
    )
