"""Several passes in one series are refused by name; one pass in blocks is read as one volume."""

import numpy as np
import pytest
from dicom_series import ORIGIN, affine_of_series, hu_of_series, series, write_series

from mg3d.volumes.volume import VolumeError, read_volume, to_original

STEP = 1.25


def two_passes(first, second, *, modality="CT", shift=STEP):
    """The second pass halfway between the slices of the first; fields as given, or by number."""
    slices = []
    for number, fields in enumerate((first, second)):
        own = series(hu_of_series(seed=number), origin=np.add(ORIGIN, [0, 0, shift * number]))
        for k, data in enumerate(own):
            data.Modality = modality
            data.SOPInstanceUID += f".{number}"
            data.InstanceNumber = None
            for name, value in fields.items():
                setattr(data, name, value(k) if callable(value) else value)
        slices += own
    return slices


def clock(start, step=0.3):
    """A time of day for each slice."""

    def at(k):
        seconds = start + k * step
        return f"10{int(seconds // 60):02d}{seconds % 60:09.6f}"

    return at


def test_07_two_acquisitions_in_one_series_are_refused(tmp_path):
    slices = two_passes({"AcquisitionNumber": 1}, {"AcquisitionNumber": 2})
    with pytest.raises(VolumeError, match="2 passes in one series, which AcquisitionNumber") as e:
        read_volume(write_series(tmp_path / "p017", slices))
    said = str(e.value)
    assert "AcquisitionNumber 1: 24 slices, first IM" in said
    assert "AcquisitionNumber 2: 24 slices, first IM" in said
    assert "p017" in said and "a folder of its own" in said


@pytest.mark.parametrize(
    ("name", "first", "second", "modality"),
    [
        ("EchoNumbers", 1, 2, "MR"),
        ("EchoTime", 2.5, 5.1, "MR"),
        ("TemporalPositionIdentifier", 1, 2, "MR"),
        ("TriggerTime", 40.0, 360.0, "MR"),
        ("TriggerTime", 40.0, 360.0, "CT"),
        ("DiffusionBValue", 0.0, 800.0, "MR"),
        ("InversionTime", 100.0, 900.0, "MR"),
        ("NominalPercentageOfCardiacPhase", 30.0, 70.0, "CT"),
        ("KVP", 80, 140, "CT"),
        ("ConvolutionKernel", "B30f", "B60f", "CT"),
        ("ImageType", ["ORIGINAL", "PRIMARY", "AXIAL"], ["DERIVED", "PRIMARY", "MIP"], "CT"),
        ("ContrastBolusAgent", "", "IV", "CT"),
        ("SeriesTime", "101500", "102000", "CT"),
        ("SeriesNumber", 3, 4, "CT"),
        ("SeriesDescription", "native", "venous", "CT"),
        ("SliceThickness", 1.25, 2.5, "CT"),
        ("ReconstructionDiameter", 350.0, 400.0, "CT"),
        ("ContentTime", "101500", "101501", "CT"),
        ("ContentTime", clock(0), clock(60), "CT"),
        ("ContentTime", clock(0), clock(7.2), "CT"),
        ("AcquisitionTime", clock(0), clock(30), "CT"),
        ("AcquisitionTime", clock(10, -0.3), clock(40, 0.3), "CT"),
        ("AcquisitionDateTime", "20180326101500", "20180326101600", "CT"),
        ("InstanceNumber", lambda k: k + 1, lambda k: k + 25, "CT"),
    ],
)
def test_07_passes_that_another_field_tells_apart_are_refused(
    name, first, second, modality, tmp_path
):
    slices = two_passes({name: first}, {name: second}, modality=modality)
    with pytest.raises(VolumeError, match=f"2 passes in one series, which {name}") as error:
        read_volume(write_series(tmp_path / "p017", slices))
    assert "1015" not in str(error.value) and "2018" not in str(error.value)


@pytest.mark.parametrize("shift", [0.0, 0.05, 0.4])
def test_07c_passes_at_one_place_are_refused(shift, tmp_path):
    slices = two_passes({"AcquisitionNumber": 1}, {"AcquisitionNumber": 2}, shift=shift)
    with pytest.raises(VolumeError, match="2 passes in one series"):
        read_volume(write_series(tmp_path / "scan", slices))


def test_07_a_second_pass_over_a_part_of_the_first_is_refused(tmp_path):
    slices = two_passes({"AcquisitionNumber": 1}, {"AcquisitionNumber": 2})
    with pytest.raises(VolumeError, match=r"AcquisitionNumber 2: 6 slices"):
        read_volume(write_series(tmp_path / "scan", slices[:24] + slices[34:40]))


@pytest.mark.parametrize("pause", [6.0, 40.0])
def test_07_a_pause_of_the_clock_tells_a_short_second_pass_apart(pause, tmp_path):
    slices = two_passes({"AcquisitionTime": clock(0)}, {"AcquisitionTime": clock(pause + 3.3)})
    with pytest.raises(VolumeError, match="2 passes in one series, which AcquisitionTime"):
        read_volume(write_series(tmp_path / "scan", slices[:24] + slices[34:40]))


def test_07_four_phases_are_refused(tmp_path):
    slices = []
    for number in range(4):
        origin = np.add(ORIGIN, [0, 0, 0.625 * number])
        own = series(hu_of_series(seed=number), origin=origin)
        for k, data in enumerate(own):
            data.AcquisitionTime = clock(20 * number)(k)
        slices += own
    with pytest.raises(VolumeError, match="passes in one series, which AcquisitionTime"):
        read_volume(write_series(tmp_path / "scan", slices))


@pytest.mark.parametrize(
    "name", ["StudyInstanceUID", "FrameOfReferenceUID", "PatientID", "PatientPosition"]
)
def test_07_slices_of_two_studies_or_patients_are_refused(name, tmp_path):
    slices = series()
    for number, data in enumerate(slices):
        setattr(data, name, "1.2.3" if number < 12 else "1.2.4")
    with pytest.raises(VolumeError, match=f"2 values of {name} in one series: 12 slices"):
        read_volume(write_series(tmp_path / "scan", slices))


def assert_reference(volume):
    values = to_original(volume.values(), volume.affine, volume.stored)
    np.testing.assert_array_equal(values, hu_of_series())
    np.testing.assert_allclose(volume.stored.affine, affine_of_series(), atol=1e-5)


def jitter(k):
    """Slices are reconstructed by several workers at once."""
    return clock(0)(max(0, k + (-2, 3, 0, -1)[k % 4]))


@pytest.mark.parametrize(
    ("fields", "warned"),
    [
        ({"AcquisitionNumber": lambda k: k + 1}, 0),  # a table that stops for each slice
        ({"AcquisitionNumber": lambda k: 1 + k // 4}, 1),  # for each four
        ({"AcquisitionNumber": lambda k: 1 + k // 12, "AcquisitionTime": clock(0)}, 1),
        ({"AcquisitionTime": clock(0), "ContentTime": jitter}, 0),
        ({"ContentTime": lambda k: jitter(k)[:6]}, 0),
        ({"AcquisitionTime": "101500", "ContentTime": "101500"}, 0),
        ({"AcquisitionTime": clock(0, 4.0)}, 0),
        ({"AcquisitionTime": lambda k: clock(0)(k + 200 * (k > 11))}, 0),  # a breath between
        ({"InstanceNumber": lambda k: 24 - k}, 0),
        ({"InstanceNumber": 1, "ContentTime": "no time"}, 0),
        ({"XRayTubeCurrent": lambda k: 100 + k % 2, "ExposureTime": lambda k: 5 + k % 3}, 0),
        ({"StudyInstanceUID": lambda k: f"1.2.{k + 1}"}, 1),  # a converter that works file by file
    ],
)
def test_one_pass_is_read_whatever_its_numbers_and_clocks_do(fields, warned, tmp_path):
    slices = series()
    for k, data in enumerate(slices):
        for name, value in fields.items():
            setattr(data, name, value(k) if callable(value) else value)
    volume = read_volume(write_series(tmp_path / "scan", slices))
    assert_reference(volume)
    assert len(volume.warnings) == 1 + warned
    if warned and "AcquisitionNumber" in fields:
        assert "values of AcquisitionNumber, one after the other along the" in volume.warnings[0]


def test_mr_that_takes_even_slices_after_odd_ones_is_one_pass(tmp_path):
    slices = series(Modality="MR")
    for k, data in enumerate(slices):
        data.AcquisitionTime = clock(0)(k // 2 + 12 * (k % 2))
        data.InstanceNumber = 1 + k // 2 + 12 * (k % 2)
    assert_reference(read_volume(write_series(tmp_path / "scan", slices)))


def test_a_localizer_and_a_dose_report_in_the_folder_change_nothing(tmp_path):
    folder = write_series(tmp_path / "scan", series())
    scout = series(hu_of_series((30, 40, 2)), AcquisitionNumber=9, FrameOfReferenceUID="9.9",
                   ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])  # fmt: skip
    write_series(folder, scout, name="scout{}")
    volume = read_volume(folder)
    assert_reference(volume)
    assert "2 localizers were left out, first scout0" in volume.warnings


def test_slices_of_two_modalities_are_refused(tmp_path):
    slices = series()
    slices[5].Modality = "MR"
    with pytest.raises(VolumeError, match=r"modality of .* is MR, of .* CT|is CT, of .* MR"):
        read_volume(write_series(tmp_path / "scan", slices))
