import itertools

import numpy as np
import pytest
from dicom_series import (
    AXIAL,
    ORIGIN,
    STEP,
    affine_of_series,
    dicom_slice,
    hu_of_series,
    series,
    write_series,
)
from pydicom.uid import EnhancedCTImageStorage, JPEGLosslessSV1, RLELossless

from mg3d.volumes.rescale import decide_rescale
from mg3d.volumes.volume import VolumeError, read_volume, to_original

AXES = np.eye(3)


def back(volume):
    """HU in the axes of the file: columns, rows, slices."""
    return to_original(volume.values(), volume.affine, volume.stored)


def rotations():
    """Every pair of a row's and a column's direction along the body's axes."""
    for first, second in itertools.permutations(range(3), 2):
        for signs in itertools.product((1, -1), repeat=2):
            yield (*(signs[0] * AXES[first]), *(signs[1] * AXES[second]))


def test_a_series_is_sorted_by_position_and_its_step_is_no_thickness(tmp_path):
    volume = read_volume(write_series(tmp_path / "scan", series()))
    assert volume.warnings == ("only 7 slices along one axis",)
    assert volume.spacing_mm == pytest.approx((STEP, 0.8, 0.7))
    assert (volume.slope, volume.intercept) == (1, -1024)
    assert volume.stored.axes == "LPS"
    np.testing.assert_allclose(volume.stored.affine, affine_of_series(), atol=1e-5)
    np.testing.assert_array_equal(back(volume), hu_of_series())


@pytest.mark.parametrize("orientation", list(rotations()))
def test_any_orientation_keeps_a_marked_voxel_at_its_place(orientation, tmp_path):
    hu = hu_of_series()
    hu[2, 3, 4] = 2500
    volume = read_volume(write_series(tmp_path / "scan", series(hu, orientation=orientation)))
    expected = affine_of_series(orientation)
    np.testing.assert_allclose(volume.stored.affine, expected, atol=1e-5)
    here = np.argwhere(volume.values() == 2500)[0]
    np.testing.assert_allclose(volume.affine @ [*here, 1], expected @ [2, 3, 4, 1], atol=1e-4)
    np.testing.assert_array_equal(back(volume), hu)


@pytest.mark.parametrize("dtype", [np.int16, np.uint16, np.int32, np.uint32])
def test_signed_and_unsigned_pixels_give_one_hu(dtype, tmp_path):
    volume = read_volume(write_series(tmp_path / "scan", series(dtype=dtype)))
    assert volume.voxels.dtype == dtype
    np.testing.assert_array_equal(back(volume), hu_of_series())


def test_twelve_bits_in_sixteen_ignore_the_other_four(tmp_path):
    slices = series(dtype=np.uint16, BitsStored=12, HighBit=11)
    for data in slices:
        data.PixelData = (np.frombuffer(data.PixelData, np.uint16) | 0x7000).tobytes()
    np.testing.assert_array_equal(
        back(read_volume(write_series(tmp_path / "scan", slices))), hu_of_series()
    )


def test_compressed_slices_equal_plain_ones(tmp_path):
    slices = series()
    for data in slices:
        data.compress(RLELossless)
    np.testing.assert_array_equal(
        back(read_volume(write_series(tmp_path / "scan", slices))), hu_of_series()
    )


def test_jpeg_lossless_slices_equal_plain_ones(tmp_path):
    slices = series(hu_of_series((40, 30, 21)))
    folder = to_jpeg_lossless(write_series(tmp_path / "scan", slices))
    np.testing.assert_array_equal(back(read_volume(folder)), hu_of_series((40, 30, 21)))


def to_jpeg_lossless(folder):
    import gdcm
    from pydicom import dcmread

    for path in folder.iterdir():
        reader, change, writer = (
            gdcm.ImageReader(),
            gdcm.ImageChangeTransferSyntax(),
            gdcm.ImageWriter(),
        )
        reader.SetFileName(str(path))
        assert reader.Read()
        change.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.JPEGLosslessProcess14_1))
        change.SetInput(reader.GetImage())
        assert change.Change()
        writer.SetFileName(str(path))
        writer.SetFile(reader.GetFile())
        writer.SetImage(change.GetOutput())
        assert writer.Write()
        assert dcmread(path).file_meta.TransferSyntaxUID == JPEGLosslessSV1
    return folder


def test_a_rescale_that_changes_from_slice_to_slice_is_applied_to_each(tmp_path):
    slices = series()
    for number, data in enumerate(slices):
        data.RescaleSlope, data.RescaleIntercept = 0.5 + number % 2, -1024 + number
    volume = read_volume(write_series(tmp_path / "scan", slices))
    assert "2 different" not in str(volume.warnings)
    assert "24 different rescales in one series, applied slice by slice" in volume.warnings
    number = np.arange(24)
    expected = (hu_of_series() + 1024) * (0.5 + number % 2) - 1024 + number
    np.testing.assert_allclose(back(volume), expected, atol=1e-3)


def test_padding_without_a_sign_becomes_air_and_padding_below_air_is_left(tmp_path):
    hu = hu_of_series()
    slices = series(hu, dtype=np.uint16, PixelPaddingValue=63536)
    for data in slices:
        pixels = np.frombuffer(data.PixelData, np.uint16).copy()
        pixels[:5] = 63536  # -2000 without its sign
        data.PixelData = pixels.tobytes()
    volume = read_volume(write_series(tmp_path / "a", slices))
    assert volume.values().max() < 2000
    assert (back(volume)[:5, 0] == -1000).all()
    assert "120 pixels of padding above any tissue were taken as air" in volume.warnings
    low = series(np.where(hu > 1400, -3024, hu), PixelPaddingValue=-2000)
    volume = read_volume(write_series(tmp_path / "b", low))
    assert volume.values().min() == -3024
    assert volume.warnings == ("only 7 slices along one axis",)


def test_a_tilted_series_with_one_step_is_read_with_a_warning(tmp_path):
    volume = read_volume(write_series(tmp_path / "scan", series(step=(0.0, 0.8, 2.5))))
    assert "sheared: axes 17.7 degrees off" in volume.warnings[0]
    np.testing.assert_allclose(
        volume.stored.affine, affine_of_series(step=(0.0, 0.8, 2.5)), atol=1e-5
    )


def test_positions_rounded_to_a_tenth_are_even(tmp_path):
    slices = series()
    for number, data in enumerate(slices):
        data.ImagePositionPatient = [*ORIGIN[:2], round(number * 0.625, 1)]
    volume = read_volume(write_series(tmp_path / "scan", slices))
    assert volume.spacing_mm[0] == pytest.approx(0.625, abs=0.01)


def test_of_several_series_one_is_chosen_by_name(tmp_path):
    folder = write_series(tmp_path / "scan", series())
    write_series(folder, series(hu_of_series(seed=1), series="9.9"), name="B{}")
    with pytest.raises(
        VolumeError, match=r"2 series in one folder.*1\.2\.3\.4 \(24 slices\) from IM"
    ):
        read_volume(folder)
    volume = read_volume(folder, series="9.9")
    np.testing.assert_array_equal(back(volume), hu_of_series(seed=1))
    assert "one of 2 series of the folder was read: 9.9" in volume.warnings
    with pytest.raises(VolumeError, match=r"no series 7 in it; there is .*9\.9"):
        read_volume(folder, series="7")


def test_what_is_no_slice_is_skipped_and_named(tmp_path):
    folder = write_series(tmp_path / "scan", series())
    (folder / "README.txt").write_text("how it was scanned")
    (folder / ".DS_Store").write_bytes(b"x")
    (folder / "._IM0001.dcm").write_bytes(b"x")
    scout = series(hu_of_series((30, 40, 1)), ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    write_series(folder, scout, name="scout")
    report = dicom_slice(np.zeros((2, 2), np.int16), ORIGIN, Rows=None, Columns=None)
    report.SOPClassUID = "1.2.840.10008.5.1.4.1.1.88.11"
    write_series(folder, [report], name="report")
    volume = read_volume(folder)
    assert "4 files are no slices and were skipped, first .DS_Store" in volume.warnings
    assert "1 localizers were left out, first scout" in volume.warnings
    np.testing.assert_array_equal(back(volume), hu_of_series())


def test_a_slice_that_is_there_twice_is_left_out_by_name(tmp_path):
    slices = series()
    folder = write_series(tmp_path / "scan", slices)
    slices[5].save_as(folder / "zz_copy", enforce_file_format=True)
    volume = read_volume(folder)
    assert "zz_copy is" in volume.warnings[0] and "again and was left out" in volume.warnings[0]
    np.testing.assert_array_equal(back(volume), hu_of_series())


def changed(number, **fields):
    def change(slices):
        for name, value in fields.items():
            setattr(slices[number], name, value)
        return slices

    return change


def everywhere(**fields):
    def change(slices):
        for number in range(len(slices)):
            slices = changed(number, **fields)(slices)
        return slices

    return change


def without(*names, numbers=range(24)):
    def change(slices):
        for number in numbers:
            for name in names:
                delattr(slices[number], name)
        return slices

    return change


def other_at_the_same_place(slices):
    slices[8].ImagePositionPatient = slices[7].ImagePositionPatient
    return slices


def uneven(slices):
    for number, data in enumerate(slices):
        data.ImagePositionPatient = [*ORIGIN[:2], number * 2.0 + (number % 3) * 0.9]
    return slices


REFUSED = {
    "gap": (
        lambda s: s[:10] + s[13:],
        r"about 3 slices are missing: .* it is 10 mm, elsewhere 2.5",
    ),
    "gap place": (lambda s: s[:10] + s[13:], r"at -60, -70, -177.5 mm.*at -60, -70, -167.5 mm"),
    "uneven": (uneven, r"uneven spacing: steps of 0.2 to 2.9 mm"),
    "uneven and tilted": (
        lambda s: changed(23, GantryDetectorTilt=12.0)(uneven(s)),
        r"uneven spacing and gantry tilt \(slices 0.0 degrees off their line, 12 by the header\)",
    ),
    "beside": (
        lambda s: changed(4, ImagePositionPatient=[-50.0, -70.0, -190.0])(s),
        r"lies up to 10 mm beside the line of the other slices \(at -50, -70, -190 mm\)",
    ),
    "other at the same place": (other_at_the_same_place, "shows something else"),
    "one slice": (lambda s: s[:1], "one slice only"),
    "no position": (without("ImagePositionPatient"), "24 of 24 slices have no ImagePositionPat"),
    "one without": (
        without("ImagePositionPatient", numbers=[3]),
        "1 of 24 slices have no ImagePositionPatient",
    ),
    "no orientation": (without("ImageOrientationPatient"), "no ImageOrientationPatient"),
    "no spacing": (without("PixelSpacing"), "24 of 24 slices have no PixelSpacing"),
    "no direction": (
        everywhere(ImageOrientationPatient=[1, 0, 0, 0.5, 1, 0]),
        "no pair of perpendicular directions",
    ),
    "other orientation": (
        changed(9, ImageOrientationPatient=[0, 1, 0, 1, 0, 0]),
        r"orientation of .* \(. of 24 slices differ|orientation of .*23 of 24",
    ),
    "other spacing": (changed(9, PixelSpacing=[0.9, 0.7]), "spacing of .* is"),
    "zero spacing": (everywhere(PixelSpacing=[0.0, 0.7]), "singular affine"),
    "metres": (everywhere(PixelSpacing=[700, 700]), "are the header's units right"),
    "other size": (changed(9, Rows=8), "pixels of"),
    "other sign": (changed(9, PixelRepresentation=0), "pixels of"),
    "one unscaled": (
        without("RescaleSlope", "RescaleIntercept", numbers=[3]),
        "rescale of .* is",
    ),
    "half a rescale": (without("RescaleSlope"), "RescaleSlope None and RescaleIntercept"),
    "giant slope": (everywhere(RescaleSlope=1e30), "cannot be those of an image"),
    "zero slope": (everywhere(RescaleSlope=0), "slope not 0"),
    "frames": (everywhere(NumberOfFrames=3), "multi-frame file with 3 frames"),
    "colour": (everywhere(SamplesPerPixel=3), "colour image"),
    "one bit": (everywhere(BitsAllocated=1), "1 bits per pixel"),
    "no rows": (without("Rows", numbers=[2]), "truncated header, it has no Rows"),
    "giant": (everywhere(Rows=60000), "60000 x 7 pixels, expected a slice"),
    "short pixels": (
        lambda s: everywhere(PixelData=bytes(4))(s),
        r"truncated.*24 of 24|the pixels cannot be read",
    ),
    "table": (everywhere(ModalityLUTSequence=[]), "look-up table"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_a_defect_made_here_is_refused_by_name_and_reason(kind, tmp_path):
    change, reason = REFUSED[kind]
    folder = write_series(tmp_path / "p017", change(series()))
    with pytest.raises(VolumeError, match=reason) as error:
        read_volume(folder)
    assert "p017" in str(error.value)


def test_cut_slices_are_counted_and_the_first_is_named(tmp_path):
    folder = write_series(tmp_path / "scan", series(hu_of_series((60, 50, 22))))
    for name in ("IM0003.dcm", "IM0011.dcm"):
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(VolumeError, match=r"truncated.*50 x 60 pixels \(2 of 22 slices") as error:
        read_volume(folder)
    assert "IM0003.dcm" in str(error.value) or "IM0011.dcm" in str(error.value)


def test_a_cut_compressed_slice_is_named(tmp_path):
    slices = series()
    for data in slices:
        data.compress(RLELossless)
    folder = write_series(tmp_path / "scan", slices)
    content = (folder / "IM0003.dcm").read_bytes()
    (folder / "IM0003.dcm").write_bytes(content[:-60])
    with pytest.raises(VolumeError, match=r"IM0003\.dcm: .*cannot be read|IM0003.dcm: damaged"):
        read_volume(folder)


def test_a_file_named_like_a_slice_that_is_none_is_refused(tmp_path):
    folder = write_series(tmp_path / "scan", series())
    (folder / "IM0900.DCM").write_bytes(b"")
    with pytest.raises(VolumeError, match=r"IM0900\.DCM: named like a slice, but no DICOM file"):
        read_volume(folder)


def test_a_folder_without_slices_is_named(tmp_path):
    (tmp_path / "one").mkdir()
    with pytest.raises(VolumeError, match=r"no DICOM slices in it \(0 other files, 1 folders\)"):
        read_volume(tmp_path)


def test_an_enhanced_multi_frame_file_is_refused(tmp_path):
    slices = series()[:1]
    slices[0].SOPClassUID, slices[0].NumberOfFrames = EnhancedCTImageStorage, 24
    with pytest.raises(VolumeError, match="multi-frame file with 24 frames"):
        read_volume(write_series(tmp_path / "scan", slices))


def test_hu_of_a_series_are_proved_by_its_header(tmp_path):
    hu = np.where(np.arange(24) < 12, -900, 40) + np.zeros((20, 20, 1), int)
    volume = read_volume(write_series(tmp_path / "scan", series(hu.astype(np.int16))))
    assert decide_rescale(volume).rule == "header"


def test_dicom_and_nifti_of_one_image_are_one_volume(shared_data):
    folder = shared_data / "volumes" / "chest_ibsi_lungtumour"
    dicom, nifti = read_volume(folder / "dicom"), read_volume(folder / "phantom.nii.gz")
    np.testing.assert_array_equal(dicom.values(), nifti.values())
    np.testing.assert_allclose(dicom.affine, nifti.affine, atol=1e-3)
    assert dicom.stored.axes == nifti.stored.axes == "LPS"


def test_axial_slices_run_to_the_left_and_the_back():
    assert AXIAL == (1, 0, 0, 0, 1, 0)
    assert (affine_of_series()[:3, :3].diagonal() < 0).tolist() == [True, True, False]
