"""Every damaged or odd volume: refused with its name and reason, or read with a warning."""

import gzip
import zlib

import nibabel as nib
import numpy as np
import pytest

from mg3d.volumes.grid import Grid, hu_to_unit, to_grid
from mg3d.volumes.rescale import decide_rescale, rescale
from mg3d.volumes.volume import VolumeError, read_volume

REFUSED = {
    "truncated.nii.gz": "truncated gzip",
    "zero_byte.nii.gz": "empty file",
    "html_login_page.nii.gz": r"not a NIfTI file \(looks like HTML\): was the download authorised",
    "lfs_pointer.nii.gz": "Git LFS pointer.*git lfs pull",
    "corrupt_middle.nii.gz": "damaged gzip stream",
    "corrupt_crc_only.nii.gz": "gzip CRC mismatch",
    "short_payload.nii.gz": "expected 196,608 bytes of voxels, got 98,304",
    "huge_dims.nii.gz": r"promises \(32767, 32767, 3000\) voxels",
    "wrong_type_png.nii.gz": "PNG image, not a NIfTI file",
    "dim4_real_perfusion.nii.gz": "4-D volume with 10 frames, expected 3-D",
    "dim2_slice.nii.gz": "2-D image .* expected a volume",
    "dim3_one_slice.nii.gz": "one slice only",
    "rgb24.nii.gz": r"colour \(RGB\) voxels .* expected one HU value per voxel",
    "all_nan.nii.gz": "no finite voxel",
    "zero_spacing_z.nii.gz": "spacing 0 on axis z",
    "nan_spacing_z.nii.gz": "spacing is nan on axis z",
    "singular_affine.nii.gz": "singular affine",
    "missing_raw.mhd": "data file missing_raw.raw is missing",
    # read, but not HU
    "constant_air.nii.gz": "constant volume",
    "uint16_plus1024.nii.gz": "minimum >= 0, not HU",
    "uint16_plus8192.nii.gz": "minimum >= 0, not HU",
    "double_rescaled.nii.gz": "far below -1000: was the rescale applied twice",
    "clipped_uint8_lung_window.nii.gz": "8-bit range .* not HU",
    "clipped_already_normalised.nii.gz": "look normalised already",
    "wrong_slope_0.001.nii.gz": "look normalised already",
}
EQUAL = {  # file -> its warnings
    "ok_reference.nii.gz": (),
    "not_gzip.nii.gz": ("named .gz but not packed",),
    "dim4_singleton.nii.gz": ("further axes of length 1",),
    "ok_scl_inter_-1024.nii.gz": (),
    "ok_scl_slope_zero.nii.gz": (),
    "scl_nan_inf.nii.gz": ("taken as 'not scaled'",),
    "ok_flipped_RAS.nii.gz": (),
    "ok_axes_permuted.nii.gz": (),
    "sform_qform_disagree.nii.gz": ("sform and qform disagree by up to",),
    "units_metre.nii.gz": ("converted to mm",),
    "ok_plain.nii": (),
    "ok_big_endian.nii.gz": (),
    "ok_nifti2.nii.gz": (),
    "OK UPPER case.NII.GZ": (),
    "ok_göğüs_胸部.nii.gz": (),
    "ok_float64.nii.gz": (),
    "ok_reference.mha": (),
}
ODD = {  # read, with this warning and this spacing
    "three_slices.nii.gz": ("only 3 slices", (5, 0.8418, 0.8418)),
    "nan_voxels.nii.gz": ("4,914 of 98,304 voxels are NaN or Inf", (5, 0.8418, 0.8418)),
    "inf_voxels.nii.gz": ("128 of 98,304 voxels are NaN or Inf", (5, 0.8418, 0.8418)),
    "oblique_20deg.nii.gz": ("oblique: axes up to 20 degrees", (5, 0.8418, 0.8418)),
    "sheared_affine.nii.gz": ("sheared: axes 16.7 degrees", (5.2202, 0.8418, 0.8418)),
    "no_geometry.nii.gz": ("no geometry in the header", (1, 1, 1)),
    "fov_padding_-3024.nii.gz": (None, (5, 0.8418, 0.8418)),
}
DICOM_REFUSED = {
    "gantry_tilt_uneven": r"uneven spacing and gantry tilt \(slices 18.5 degrees .* 1.08 to 7 mm",
    "missing_slices": r"about 3 slices are missing: .* -55.4 mm\) to .* -43.4 mm\) it is 12 mm",
    "mixed_series": r"2 series in one folder: .*\(no description, 6 slices\).*ge_13.dcm",
    "truncated_file": r"DCM_IMG_00046.dcm: truncated, .* 201 x 204 pixels \(1 of 6",
    "no_position": "6 of 6 slices have no ImagePositionPatient, first DCM_IMG_00044.dcm",
    "empty_folder": "no DICOM slices in it",
}
DICOM_READ = {  # shape, spacing, lowest HU, what the first warning says
    "duplicate_slice": (
        (6, 201, 204),
        (3, 0.977, 0.977),
        -1000,
        "copy_of_one.dcm is DCM_IMG_00047",
    ),
    "ok_thickness_not_step": ((6, 201, 204), (3, 0.977, 0.977), -1000, "only 6 slices"),
    "ok_jpeg_lossless": ((5, 512, 512), (1.25, 0.7031, 0.7031), -3024, "only 5 slices"),
}


def read_hu(path):
    volume = read_volume(path)
    return rescale(volume, decide_rescale(volume))


@pytest.fixture
def volumes(shared_data):
    return shared_data / "broken" / "volumes"


def test_every_file_of_the_folder_is_tested(volumes):
    assert {path.name for path in volumes.iterdir()} == {*REFUSED, *EQUAL, *ODD}


@pytest.mark.parametrize(("name", "reason"), REFUSED.items())
def test_a_broken_file_is_refused_by_name_and_reason(name, reason, volumes):
    with pytest.raises(VolumeError, match=reason) as error:
        read_hu(volumes / name)
    assert name in str(error.value)


@pytest.mark.parametrize(("name", "warnings"), EQUAL.items())
def test_an_unusual_good_file_equals_the_reference(name, warnings, volumes):
    reference, volume = read_hu(volumes / "ok_reference.nii.gz"), read_hu(volumes / name)
    np.testing.assert_array_equal(volume.values(), reference.values())
    np.testing.assert_allclose(volume.affine[:3, :3], reference.affine[:3, :3], atol=1e-3)
    if name != "units_metre.nii.gz":  # its origin was left in mm
        np.testing.assert_allclose(volume.affine, reference.affine, atol=1e-3)
    assert len(volume.warnings) == len(warnings)
    for said, expected in zip(volume.warnings, warnings, strict=True):
        assert expected in said


@pytest.mark.parametrize(("name", "expected"), ODD.items())
def test_an_odd_file_is_read_with_a_warning(name, expected, volumes):
    warning, spacing_mm = expected
    volume = read_hu(volumes / name)
    assert [w for w in volume.warnings if warning and warning in w] or volume.warnings == ()
    assert bool(volume.warnings) == bool(warning)
    assert volume.spacing_mm == pytest.approx(spacing_mm, abs=1e-3)
    assert np.isfinite(volume.values()).all()


def test_every_folder_of_slices_is_tested(shared_data):
    folders = {path.name for path in (shared_data / "broken" / "dicom").iterdir()}
    assert folders == {*DICOM_REFUSED, *DICOM_READ}


@pytest.mark.parametrize("name", DICOM_REFUSED)
def test_a_broken_series_is_refused_by_name_and_reason(name, shared_data):
    with pytest.raises(VolumeError, match=DICOM_REFUSED[name]) as error:
        read_volume(shared_data / "broken" / "dicom" / name)
    assert name in str(error.value)


@pytest.mark.parametrize("name", DICOM_READ)
def test_an_odd_series_is_read(name, shared_data):
    shape, spacing_mm, lowest, warning = DICOM_READ[name]
    volume = read_hu(shared_data / "broken" / "dicom" / name)
    assert volume.voxels.shape == shape
    assert volume.spacing_mm == pytest.approx(spacing_mm, abs=1e-3)
    assert volume.values().min() == lowest
    assert np.mean(np.abs(volume.values() + 1000) < 100) > 0.05  # air
    assert warning in volume.warnings[0]


def test_non_dicom_files_beside_slices_are_skipped_by_name(shared_data, tmp_path):
    for path in (shared_data / "broken" / "dicom" / "truncated_file").iterdir():
        if path.name != "DCM_IMG_00046.dcm":
            (tmp_path / path.name).write_bytes(path.read_bytes())
    with pytest.raises(VolumeError, match="about 1 slices are missing"):
        read_volume(tmp_path)
    for name in ("DCM_IMG_00044.dcm", "DCM_IMG_00045.dcm"):
        (tmp_path / name).unlink()
    warnings = read_volume(tmp_path).warnings
    assert "2 files are no slices and were skipped, first README.txt" in warnings


@pytest.mark.parametrize(("name", "intercept"), [("1024", -1024), ("8192", -8192)])
def test_stored_values_equal_the_reference_with_the_metadata(name, intercept, volumes):
    volume = read_volume(volumes / f"uint16_plus{name}.nii.gz")
    for release in ("first", "corrected", "unknown"):
        decision = decide_rescale(volume, release=release, metadata=(1.0, float(intercept)))
        assert decision.rule == "metadata"
        expected = read_hu(volumes / "ok_reference.nii.gz").values()
        np.testing.assert_array_equal(rescale(volume, decision).values(), expected)


def test_hu_equal_the_reference_inside_the_scanned_circle(volumes):
    reference, volume = (
        read_hu(volumes / "ok_reference.nii.gz"),
        read_hu(volumes / "fov_padding_-3024.nii.gz"),
    )
    inside = volume.values() > -3024
    assert 0.5 < inside.mean() < 1
    np.testing.assert_array_equal(volume.values()[inside], reference.values()[inside])
    grid = Grid(volume.voxels.shape, volume.spacing_mm)
    unit = hu_to_unit(to_grid(volume, grid).voxels, (-1000.0, 1000.0))
    assert (unit[~inside] == 0).all()  # clipped to the lower end


@pytest.mark.parametrize("name", ["nan_voxels.nii.gz", "inf_voxels.nii.gz"])
def test_only_what_was_no_number_differs_from_the_reference(name, volumes):
    reference, volume = read_hu(volumes / "ok_reference.nii.gz"), read_hu(volumes / name)
    other = volume.values() != reference.values()
    count = int(volume.warnings[0].split()[0].replace(",", ""))
    assert other.sum() <= count
    assert (volume.values()[other] == -1000).all()


# The same kinds of damage, made here.


def good(dtype=np.int16, shape=(30, 31, 32)):
    voxels = np.random.default_rng(0).integers(-1000, 300, shape).astype(dtype)
    return nib.Nifti1Image(voxels, np.diag([-0.8, -0.8, 2.0, 1.0])).to_bytes()


def changed(field, value, content=None):
    header = nib.Nifti1Header(good()[:348])
    header[field] = value
    return header.structarr.tobytes() + (content or good())[348:]


def without_checksum(content):
    packed = bytearray(gzip.compress(content, 1))
    packed[-8] ^= 255
    return bytes(packed)


DAMAGE = {
    "cut": (lambda: gzip.compress(good())[:-2000], "truncated gzip"),
    "cut checksum": (lambda: gzip.compress(good())[:-4], "truncated gzip"),
    "checksum": (lambda: without_checksum(good()), "gzip CRC mismatch"),
    "flipped": (
        lambda: (lambda b: b[:5000] + bytes(200) + b[5200:])(gzip.compress(good())),
        "damaged gzip",
    ),
    "more after": (lambda: gzip.compress(good()) + b"garbage", "no gzip stream follow"),
    "empty": (lambda: b"", "empty file"),
    "html": (lambda: b"\n<!DOCTYPE html><html>Sign in</html>", "looks like HTML"),
    "lfs": (lambda: b"version https://git-lfs.github.com/spec/v1\n", "Git LFS"),
    "text": (lambda: b"no volume at all, but long enough" * 20, "not a NIfTI file"),
    "short header": (lambda: good()[:200], "header should have 348 bytes, got 200"),
    "short voxels": (lambda: gzip.compress(good()[:-100]), "short payload: expected 59,520"),
    "short plain": (lambda: good()[:-100], "short payload: expected 59,520"),
    "huge": (lambda: gzip.compress(changed("dim", [3, 30000, 30000, 3000, 1, 1, 1, 1])), "promise"),
    "frames": (lambda: changed("dim", [4, 30, 31, 16, 2, 1, 1, 1]), "4-D volume with 2 frames"),
    "slice": (lambda: changed("dim", [2, 30, 31, 1, 1, 1, 1, 1]), "2-D image"),
    "one slice": (lambda: changed("dim", [3, 30, 31, 1, 1, 1, 1, 1]), "one slice only"),
    "negative": (lambda: changed("dim", [3, -30, 31, 32, 1, 1, 1, 1]), "axes of length"),
    "rank": (lambda: changed("dim", [9, 30, 31, 32, 1, 1, 1, 1]), "9 axes"),
    "pair": (lambda: changed("magic", b"ni1"), "pair"),
    "complex": (lambda: changed("datatype", 32), "complex voxels"),
    "unknown": (lambda: changed("datatype", 77), "unknown voxels"),
    "offset": (lambda: changed("vox_offset", 1e30), "cannot start at byte"),
    "nan offset": (lambda: changed("vox_offset", np.nan), "cannot start at byte"),
    "flat": (lambda: changed("srow_z", [0, 0, 0, 0]), "singular affine"),
    "parallel": (lambda: changed("srow_y", [-0.8, 0, 0, 0]), "singular affine"),
    "nan affine": (lambda: changed("srow_x", [np.nan, 0, 0, 0]), "affine holds NaN"),
    "giant slope": (lambda: changed("scl_slope", 1e30), "slope 1e.30 and intercept 0 cannot be"),
    "tiny slope": (lambda: changed("scl_slope", 1e-30), "cannot be those of an image"),
    "sform code": (lambda: changed("sform_code", 256), "sform_code is 256, expected 0 to 5"),
    "qform code": (lambda: changed("qform_code", -1), "qform_code is -1, expected 0 to 5"),
    "metres": (lambda: changed("xyzt_units", 1), "are the header's units right"),
    "no rotation": (lambda: changed("quatern_b", 3.0, None), "no rotation"),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_damage_made_here_is_refused_by_name_and_reason(kind, tmp_path):
    make, reason = DAMAGE[kind]
    content = bytearray(make())
    if kind == "no rotation":
        content[252:256] = np.array([1, 0], "<i2").tobytes()  # qform only
    path = tmp_path / "p017.nii.gz"
    path.write_bytes(content)
    with pytest.raises(VolumeError, match=reason) as error:
        read_volume(path)
    assert "p017.nii.gz" in str(error.value)


def test_a_stream_in_several_parts_and_zero_padding_is_read(tmp_path):
    path, content = tmp_path / "a.nii.gz", good()
    path.write_bytes(gzip.compress(content[:9999]) + gzip.compress(content[9999:]) + bytes(512))
    volume = read_volume(path)
    assert volume.warnings == ()
    np.testing.assert_array_equal(
        volume.voxels, nib.Nifti1Image.from_bytes(content).get_fdata()[::-1, ::-1].T
    )


def test_bytes_after_the_voxels_are_mentioned(tmp_path):
    (tmp_path / "a.nii.gz").write_bytes(gzip.compress(good() + b"more"))
    assert read_volume(tmp_path / "a.nii.gz").warnings == (
        "4 bytes after the voxels were not read",
    )


def test_numbers_beyond_any_measurement_are_taken_as_air(tmp_path):
    content = bytearray(good(np.float64))
    content[352:360] = np.array([1e300], "<f8").tobytes()
    (tmp_path / "a.nii").write_bytes(content)
    volume = read_volume(tmp_path / "a.nii")
    assert "1 of 29,760 voxels are NaN or Inf" in volume.warnings[0]
    assert volume.values().max() < 300 and volume.values().min() == -1000


def test_a_bomb_is_not_unpacked(tmp_path):
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    head = changed("dim", [3, 2000, 2000, 2000, 1, 1, 1, 1])
    packed = packer.compress(head[:352] + bytes(1 << 20)) + packer.flush()
    (tmp_path / "a.nii.gz").write_bytes(packed)
    with pytest.raises(VolumeError, match="more than this file can hold"):
        read_volume(tmp_path / "a.nii.gz")
