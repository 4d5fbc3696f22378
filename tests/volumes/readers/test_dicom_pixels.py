"""Padding in all its forms becomes air, with a warning; numbers without their sign are refused."""

import numpy as np
import pytest
from dicom_series import hu_of_series, series, write_series
from pydicom.uid import RLELossless

from mg3d.volumes.rescale import decide_rescale, rescale
from mg3d.volumes.volume import VolumeError, read_volume, to_original

BORDER = np.zeros((7, 9), bool)  # columns, rows
BORDER[:, [0, -1]] = BORDER[[0, -1]] = True


def back(volume):
    return to_original(volume.values(), volume.affine, volume.stored)


def padded(word, *, bits=16, signed=False, hu=None, rle=False, **fields):
    """Slices of HU + 1024 whose border holds one word, whatever the bits stored say."""
    hu = np.clip(hu_of_series(), -1000, 1200) if hu is None else hu
    slices = series(hu, dtype=np.int16 if signed else np.uint16, BitsStored=bits, HighBit=bits - 1,
                    **fields)  # fmt: skip
    for data in slices:
        words = np.frombuffer(data.PixelData, np.uint16).reshape(9, 7).copy()
        if signed and bits < 16:
            words &= (1 << bits) - 1  # no sign extension
        words[BORDER.T] = word & 0xFFFF
        data.PixelData = words.tobytes()
        if rle:
            data.compress(RLELossless)
    return slices, hu


def tagged(value, signed=False):
    """The tag as it can be written: without a sign beside pixels that have none."""
    word = value & 0xFFFF
    return {"PixelPaddingValue": word - (word >> 15 << 16) if signed else word}


def assert_air_at_the_border(volume, hu):
    values = back(volume)
    assert (values[BORDER] == -1000).all()
    np.testing.assert_array_equal(values[~BORDER], hu[~BORDER])


@pytest.mark.parametrize("rle", [False, True])
@pytest.mark.parametrize("word", [63536, -3024, 32768, 64512])
def test_06_padding_without_its_sign_and_without_a_tag_is_air(word, rle, tmp_path):
    slices, hu = padded(word, rle=rle)
    volume = read_volume(write_series(tmp_path / "scan", slices))
    assert_air_at_the_border(volume, hu)
    assert f"{24 * BORDER.sum():,} pixels are negative numbers stored without their sign" in (
        str(volume.warnings)
    )


@pytest.mark.parametrize("bits", [12, 13, 14, 15, 16])
@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("tag", [63536, -2000])
def test_06_padding_with_a_tag_is_never_tissue(bits, signed, tag, tmp_path):
    """-2000 may fit the pixels (then it is darker than air and stays) or not (then it is air)."""
    hu = np.clip(hu_of_series(), -1000, 900)
    slices, hu = padded(tag, bits=bits, signed=signed, hu=hu, **tagged(tag, signed))
    volume = read_volume(write_series(tmp_path / "scan", slices))
    values = back(volume)
    assert set(np.unique(values[BORDER])) <= {-1000, -3024}
    np.testing.assert_array_equal(values[~BORDER], hu[~BORDER])


@pytest.mark.parametrize("rle", [False, True])
@pytest.mark.parametrize("fields", [{}, tagged(63536)])
def test_05c_padding_outside_the_bits_stored_is_air(fields, rle, tmp_path):
    slices, hu = padded(63536, bits=12, rle=rle, **fields)
    volume = read_volume(write_series(tmp_path / "scan", slices))
    assert_air_at_the_border(volume, hu)
    assert "padding" in volume.warnings[0]


def test_05c_padding_below_signed_bits_is_air(tmp_path):
    """-3024 in 12 signed bits reads as 1072."""
    hu = np.clip(hu_of_series(), -1000, 1000)
    slices, hu = padded(-3024, bits=12, signed=True, hu=hu)
    assert_air_at_the_border(read_volume(write_series(tmp_path / "scan", slices)), hu)


def test_06_a_range_of_padding_is_air(tmp_path):
    slices, hu = padded(63536, PixelPaddingValue=63536, PixelPaddingRangeLimit=63540)
    for number, data in enumerate(slices):
        words = np.frombuffer(data.PixelData, np.uint16).copy()
        words[words == 63536] += np.uint16(number % 5)
        data.PixelData = words.tobytes()
    volume = read_volume(write_series(tmp_path / "scan", slices))
    assert_air_at_the_border(volume, hu)
    assert f"{24 * BORDER.sum():,} pixels of padding above any tissue" in str(volume.warnings)


def test_06_a_padding_value_that_tissue_has_too_is_air_only_at_the_border(tmp_path):
    hu = np.clip(hu_of_series(), -1000, 1200)
    hu[3, 4] = 76
    slices, hu = padded(1100, hu=hu, PixelPaddingValue=1100)
    volume = read_volume(write_series(tmp_path / "scan", slices))
    assert_air_at_the_border(volume, hu)
    assert (back(volume)[3, 4] == 76).all()


def test_06_padding_of_monochrome1_is_air_too(tmp_path):
    slices, hu = padded(63536, PixelPaddingValue=63536, PhotometricInterpretation="MONOCHROME1")
    assert_air_at_the_border(read_volume(write_series(tmp_path / "scan", slices)), hu)


def test_06_padding_where_each_slice_has_its_own_rescale_is_air(tmp_path):
    slices, hu = padded(63536)
    for number, data in enumerate(slices):
        data.RescaleSlope, data.RescaleIntercept = 1 + number % 2, -1024 - number % 2
    volume = read_volume(write_series(tmp_path / "scan", slices))
    assert (back(volume)[BORDER] == -1000).all()
    number = np.arange(24)
    expected = (hu + 1024) * (1 + number % 2) - 1024 - number % 2
    np.testing.assert_allclose(back(volume)[~BORDER], expected[~BORDER])


def test_06_a_whole_image_without_its_sign_is_refused(tmp_path):
    """Air is many numbers, padding one or two."""
    slices = series(offset=0, dtype=np.int16, RescaleIntercept=0)
    for data in slices:
        data.PixelRepresentation = 0
    with pytest.raises(VolumeError, match=r"scan.*negative numbers stored without their sign"):
        read_volume(write_series(tmp_path / "scan", slices))
    slices = series(offset=0, dtype=np.int16, RescaleIntercept=0, BitsStored=12, HighBit=11)
    for data in slices:
        data.PixelRepresentation = 0
    with pytest.raises(VolumeError, match="PixelRepresentation or BitsStored is wrong"):
        read_volume(write_series(tmp_path / "other scan", slices))


def test_05_signed_bits_without_extension_are_read_and_numbers_too_large_for_them_refused(tmp_path):
    """In 12 signed bits, 0x0F38 is -200; but 2500 would become -1596, darker than any air."""
    hu = np.clip(hu_of_series(), -1000, 1000)
    slices = series(hu, offset=0, RescaleIntercept=0, BitsStored=12, HighBit=11)
    for data in slices:
        data.PixelData = (np.frombuffer(data.PixelData, np.uint16) & 0x0FFF).tobytes()
    volume = read_volume(write_series(tmp_path / "scan", slices))
    np.testing.assert_array_equal(back(volume), hu)
    slices = series(BitsStored=12, HighBit=11)
    with pytest.raises(VolumeError, match=r"p017.*different values far below air once bit 11"):
        read_volume(write_series(tmp_path / "p017", slices))


def test_bits_above_those_stored_may_hold_an_overlay(tmp_path):
    slices = series(dtype=np.uint16, BitsStored=12, HighBit=11)
    for data in slices:
        words = np.frombuffer(data.PixelData, np.uint16).copy()
        words[::3] |= 0x8000
        data.PixelData = words.tobytes()
    volume = read_volume(write_series(tmp_path / "scan", slices))
    np.testing.assert_array_equal(back(volume), hu_of_series())
    assert volume.warnings == ("only 7 slices along one axis",)


def test_counts_of_a_pet_are_no_padding(tmp_path):
    slices = series(dtype=np.uint16, Modality="PT", RescaleSlope=60.0, RescaleIntercept=0)
    volume = read_volume(write_series(tmp_path / "scan", slices))
    np.testing.assert_allclose(back(volume), (hu_of_series() + 1024) * 60.0)
    assert volume.warnings == ("only 7 slices along one axis",)


@pytest.mark.parametrize(
    ("bits", "high"), [(12, 15), (12, 12), (12, 10), (16, 7), (17, 16), (10, 15)]
)
def test_05b_pixels_that_are_not_right_aligned_are_refused(bits, high, tmp_path):
    slices = series(dtype=np.uint16)
    for data in slices:
        data.PixelData = (np.frombuffer(data.PixelData, np.uint16) << 4).tobytes()
        data.BitsStored, data.HighBit = bits, high
    with pytest.raises(VolumeError, match=rf"p017.*{bits} bits stored up to bit {high} of 16"):
        read_volume(write_series(tmp_path / "p017", slices))


def chest(**fields):
    hu = np.where(np.arange(24) < 12, -900, 40) + np.zeros((20, 20, 1), int)
    return series(hu.astype(np.int16), **fields)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"Modality": "MR"}, "modality: MR"),
        ({"Modality": "PT"}, "modality: PT"),
        ({"Modality": "OT"}, "modality: OT"),
        ({"Modality": "XYZ^NAME"}, "modality: another"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.4"}, "modality: MR"),
        ({"Modality": None, "SOPClassUID": "1.2.840.10008.5.1.4.1.1.128"}, "modality: PT"),
        ({"RescaleType": "MGML"}, "CT with a RescaleType other than HU"),
    ],
)
def test_r2_a_series_that_is_no_ct_is_refused_where_hu_are_promised(fields, said, tmp_path):
    volume = read_volume(write_series(tmp_path / "p017", chest(**fields)))
    with pytest.raises(VolumeError, match=rf"p017: expected HU of a CT.*{said}"):
        decide_rescale(volume)


@pytest.mark.parametrize("fields", [{}, {"Modality": None}, {"RescaleType": "HU"},
                                    {"RescaleType": "US"}])  # fmt: skip
def test_a_ct_series_is_taken_by_its_modality_or_class(fields, tmp_path):
    volume = read_volume(write_series(tmp_path / "p017", chest(**fields)))
    assert volume.modality == "CT"
    assert sorted(np.unique(rescale(volume, decide_rescale(volume)).values())) == [-900, 40]
