"""Files without preamble, meta group or transfer syntax, deflated ones, and ones with too much."""

from io import BytesIO

import numpy as np
import pytest
from dicom_series import affine_of_series, hu_of_series, series, write_series
from pydicom import Dataset, dcmread
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)

from mg3d.volumes.readers.dicom_file import is_dicom
from mg3d.volumes.volume import VolumeError, read_volume, to_original


def back(volume):
    return to_original(volume.values(), volume.affine, volume.stored)


def assert_reference(volume):
    np.testing.assert_array_equal(back(volume), hu_of_series())
    np.testing.assert_allclose(volume.stored.affine, affine_of_series(), atol=1e-5)


def strip(path, what, syntax=ExplicitVRLittleEndian):
    """Remove the preamble, all before the data set, or the transfer syntax of a written file."""
    content = path.read_bytes()
    if what == "preamble":
        path.write_bytes(content[132:])
    elif what == "zeros":
        path.write_bytes(content[128:])
    elif what == "meta group":
        path.write_bytes(content[132 + 12 + int.from_bytes(content[140:144], "little") :])
    else:
        data = dcmread(path)
        del data.file_meta.TransferSyntaxUID
        buffer = BytesIO()
        data.save_as(
            buffer, implicit_vr=syntax.is_implicit_VR, little_endian=syntax.is_little_endian
        )
        path.write_bytes(buffer.getvalue())
    return path


@pytest.mark.parametrize("name", ["IM{:04d}.dcm", "IM{:04d}", "{}.IMA"])
@pytest.mark.parametrize("what", ["preamble", "zeros", "meta group", "transfer syntax"])
@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian])
def test_04_slices_without_preamble_or_meta_group_are_read(name, what, syntax, tmp_path):
    folder = write_series(tmp_path / "scan", series(syntax=syntax), name=name)
    for path in folder.iterdir():
        strip(path, what, syntax)
    volume = read_volume(folder)
    assert_reference(volume)
    states_none = what in ("meta group", "transfer syntax")
    assert ("24 slices state no transfer syntax" in str(volume.warnings)) == states_none


@pytest.mark.parametrize("name", ["IM{:04d}.dcm", "IM{:04d}"])
def test_04b_no_slice_is_lost_where_only_some_have_no_preamble(name, tmp_path):
    folder = write_series(tmp_path / "scan", series(), name=name)
    for path in sorted(folder.iterdir())[:6]:
        strip(path, "preamble")
    volume = read_volume(folder)
    assert_reference(volume)
    assert volume.warnings == ("only 7 slices along one axis",)


def test_04c_compressed_pixels_without_a_transfer_syntax_are_refused_by_name(tmp_path):
    slices = series()
    for data in slices:
        data.compress(RLELossless)
    folder = write_series(tmp_path / "p017", slices)
    for path in folder.iterdir():
        content = path.read_bytes()
        path.write_bytes(content[132 + 12 + int.from_bytes(content[140:144], "little") :])
    with pytest.raises(VolumeError, match=r"p017.*compressed pixels, but no TransferSyntaxUID"):
        read_volume(folder)


def test_04_big_endian_slices_without_meta_group_are_read(tmp_path):
    slices = []
    for data in series():
        data.PixelData = np.frombuffer(data.PixelData, "<i2").astype(">i2").tobytes()
        other = Dataset()  # the first one would not be written in another byte order
        other.update(data)
        other.file_meta = data.file_meta
        other.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
        slices.append(other)
    folder = write_series(tmp_path / "scan", slices)
    assert_reference(read_volume(folder))
    for path in folder.iterdir():
        strip(path, "meta group")
    assert_reference(read_volume(folder))


def test_what_only_looks_like_a_slice_by_its_name_is_still_refused(tmp_path):
    folder = write_series(tmp_path / "scan", series())
    (folder / "IM0900.dcm").write_bytes(b"no DICOM" * 50)
    with pytest.raises(VolumeError, match=r"IM0900\.dcm: named like a slice, but no DICOM file"):
        read_volume(folder)
    for start in (
        b"",
        b"\x02",
        bytes(132),
        b"how it was scanned " * 9,
        b"\x89PNG\r\n\x1a\n" + bytes(130),
    ):
        assert not is_dicom(start)


def test_03_deflated_slices_are_read_though_their_files_are_small(tmp_path):
    hu = np.full((60, 50, 24), -1000) + np.arange(24)
    folder = write_series(tmp_path / "scan", series(hu, syntax=DeflatedExplicitVRLittleEndian))
    assert max(path.stat().st_size for path in folder.iterdir()) < 60 * 50 * 2
    np.testing.assert_array_equal(back(read_volume(folder)), hu)


def test_03_a_cut_deflated_slice_is_named(tmp_path):
    folder = write_series(tmp_path / "scan", series(syntax=DeflatedExplicitVRLittleEndian))
    path = folder / "IM0003.dcm"
    path.write_bytes(path.read_bytes()[:-150])
    with pytest.raises(VolumeError, match=r"IM0003\.dcm: damaged DICOM header"):
        read_volume(folder)


@pytest.mark.parametrize("excess", [2, 512, 2 * 7 * 9, 4 * 7 * 9])
@pytest.mark.parametrize("number", [1, 24])
@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, DeflatedExplicitVRLittleEndian])
def test_02_bytes_after_the_last_pixel_are_passed_over_and_counted(
    excess, number, syntax, tmp_path
):
    slices = series(syntax=syntax)
    for data in slices[:number]:
        data.PixelData += b"\x7f" * excess
    volume = read_volume(write_series(tmp_path / "scan", slices))
    assert_reference(volume)
    said = f"{number} slices hold more bytes than their pixels, which were not read"
    assert said in volume.warnings


def test_02_one_byte_that_makes_the_length_even_is_no_excess(tmp_path):
    hu = hu_of_series((7, 9, 24)) // 20
    slices = series(hu, dtype=np.uint8, offset=100, RescaleIntercept=-100)
    for data in slices:
        data.PixelData += b"\0"
    volume = read_volume(write_series(tmp_path / "scan", slices))
    np.testing.assert_array_equal(back(volume), hu)
    assert volume.warnings == ("only 7 slices along one axis",)


def test_too_few_pixels_are_refused_with_both_numbers(tmp_path):
    slices = series(syntax=DeflatedExplicitVRLittleEndian)
    slices[3].PixelData = slices[3].PixelData[:100]
    with pytest.raises(VolumeError, match="cannot be read: 100 of 126 bytes"):
        read_volume(write_series(tmp_path / "scan", slices))


NAME = "DOE^JANE 19530412"


@pytest.mark.parametrize(
    "field",
    ["ImagePositionPatient", "PixelSpacing", "RescaleSlope", "SeriesDescription", "Modality",
     "SeriesInstanceUID", "FrameOfReferenceUID", "ImageType", "ContentTime", "AcquisitionNumber",
     "PhotometricInterpretation", "PatientPosition", "ConvolutionKernel", "InstanceNumber",
     "PatientID", "RescaleType", "GantryDetectorTilt"],
)  # fmt: skip
def test_r3_no_message_quotes_a_header(field, tmp_path):
    """Whatever is said about a series with a name in the wrong field, the name is not in it."""
    from pydicom.datadict import tag_for_keyword
    from pydicom.dataelem import DataElement

    slices = series()
    slices[3][field] = DataElement(tag_for_keyword(field), "LO", NAME)
    try:
        said = str(read_volume(write_series(tmp_path / "scan", slices)).warnings)
    except VolumeError as error:
        said = f"{error} {error.__cause__ and type(error.__cause__).__name__}"
    assert not [word for word in ("DOE", "JANE", "1953", "0412") if word in said]
