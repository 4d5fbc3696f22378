"""What lies beside slices in a folder that somebody downloaded: drawings, pages, lost links."""

import numpy as np
import pytest
from dicom_series import dicom_slice, hu_of_series, series, write_series
from grey_slices import grey, save
from pydicom.uid import SecondaryCaptureImageStorage, SegmentationStorage

from mg3d.volumes.volume import VolumeError, read_volume, to_original

RT_DOSE = "1.2.840.10008.5.1.4.1.1.481.2"
OTHER = "1.2.3.9"


def add(folder, name, *, pixels=None, **fields):
    """One more file among the slices, of another series."""
    one = dicom_slice(np.zeros((9, 7), np.uint8) if pixels is None else pixels, (0, 0, 0), **fields)
    one.save_as(folder / name, enforce_file_format=True)
    return folder


def hu_in(folder, **choice):
    volume = read_volume(folder, **choice)
    return to_original(volume.values(), volume.affine, volume.stored), volume.warnings


@pytest.mark.parametrize("choice", [{}, {"series": "1.2.3.4"}])
@pytest.mark.parametrize(
    "fields",
    [
        {"SOPClassUID": SegmentationStorage, "Modality": "SEG", "NumberOfFrames": 3},
        {"SOPClassUID": RT_DOSE, "Modality": "RTDOSE", "NumberOfFrames": 3},
        {
            "SOPClassUID": SecondaryCaptureImageStorage,
            "SamplesPerPixel": 3,
            "PhotometricInterpretation": "RGB",
        },
    ],
    ids=["segmentation", "dose", "page in colour"],
)
def test_what_was_drawn_on_a_series_does_not_keep_it_from_being_read(tmp_path, fields, choice):
    folder = write_series(tmp_path / "scan", series())
    hu, warnings = hu_in(add(folder, "beside.dcm", series=OTHER, **fields), **choice)
    np.testing.assert_array_equal(hu, hu_of_series())
    assert any("skipped, first beside.dcm" in warning for warning in warnings)


def test_an_unreadable_file_of_another_series_does_not_matter_to_the_chosen_one(tmp_path):
    folder = write_series(tmp_path / "scan", series())
    add(folder, "cine.dcm", series=OTHER, NumberOfFrames=3)
    hu, _ = hu_in(folder, series="1.2.3.4")
    np.testing.assert_array_equal(hu, hu_of_series())
    with pytest.raises(VolumeError, match="multi-frame file with 3 frames"):
        read_volume(folder)


@pytest.mark.parametrize("kind", ["dicom", "png"])
@pytest.mark.parametrize("target", ["nowhere", "itself"])
def test_a_slice_that_is_a_link_to_nothing_is_not_left_out_in_silence(tmp_path, kind, target):
    folder = tmp_path / "scan"
    if kind == "dicom":
        write_series(folder, series(), name="{:04d}.dcm")
    else:
        save(folder, grey((24, 9, 7)), "{:04d}.png")
    last = max(folder.iterdir())
    last.unlink()
    last.symlink_to(last if target == "itself" else tmp_path / "annex" / last.name)
    with pytest.raises(VolumeError, match=f"1 links lead nowhere, first {last.name}"):
        read_volume(folder)


def test_links_to_slices_are_slices(tmp_path):
    annex, folder = write_series(tmp_path / "annex", series()), tmp_path / "scan"
    folder.mkdir()
    for path in annex.iterdir():
        (folder / path.name).symlink_to(path)
    np.testing.assert_array_equal(hu_in(folder)[0], hu_of_series())


def test_one_slice_given_for_its_series_is_told_so(tmp_path):
    path = min(write_series(tmp_path / "scan", series()).iterdir())
    with pytest.raises(VolumeError, match=r"one file of a DICOM series.*give the folder"):
        read_volume(path)
