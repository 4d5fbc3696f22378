import io

import numpy as np
import pytest
from dicom_series import series, write_series
from grey_slices import grey, save
from PIL import Image

from mg3d.volumes.volume import VolumeError, read_slices, read_volume, to_original


def test_slices_are_ordered_by_number_not_by_name(tmp_path):
    folder = save(tmp_path / "scan", grey())
    assert sorted(path.name for path in folder.iterdir())[1] == "10.png"
    volume = read_slices(folder)
    stored = to_original(volume.voxels, volume.affine, volume.stored)
    np.testing.assert_array_equal(stored, grey().transpose(2, 1, 0))
    assert volume.voxels.dtype == np.uint8
    assert (volume.slope, volume.intercept) == (1, 0)


@pytest.mark.parametrize("name", ["A_05_{0:04d}_{0:04d}.png", "{0}#1-{0}.png", "s3_IM{0}_x.png"])
def test_a_name_may_hold_other_numbers_if_they_say_nothing_else(name, tmp_path):
    folder = save(tmp_path / "scan", grey(), name=name)
    plain = read_slices(save(tmp_path / "plain", grey()))
    assert (read_slices(folder).voxels == plain.voxels).all()
    save(folder, grey()[:5], name=name.replace("05", "06").replace("#1", "#2").replace("s3", "s4"),
         start=40)  # fmt: skip
    with pytest.raises(VolumeError, match="named in 2 ways"):
        read_slices(folder)


@pytest.mark.parametrize(("first", "axes"), [("superior", "LPI"), ("inferior", "LPS")])
def test_the_order_and_what_is_unknown_are_stated(first, axes, tmp_path):
    volume = read_slices(save(tmp_path / "scan", grey()), first=first)
    assert volume.stored.axes == axes
    assert (
        f"grey values, not HU; columns taken to run to the left, rows to the back, the first "
        f"slice to be the most {first}" in volume.warnings[0]
    )
    assert volume.warnings[1:] == ("no spacing in a folder of images; taken as 1 x 1 x 1 mm",)
    lowest = 0 if first == "inferior" else -1
    np.testing.assert_array_equal(volume.voxels[0], grey()[lowest][::-1, ::-1])


def test_a_known_spacing_is_taken_without_a_warning(tmp_path):
    volume = read_slices(save(tmp_path / "scan", grey()), spacing_mm=(0.7, 0.8, 2.5))
    assert volume.spacing_mm == pytest.approx((2.5, 0.8, 0.7))
    assert len(volume.warnings) == 1


def test_jpeg_slices_are_those_that_pillow_reads(tmp_path):
    folder = save(tmp_path / "scan", grey(), "CT_{:04d}_lung.JPG", quality=90)
    volume = read_volume(folder)
    second = np.asarray(Image.open(folder / "CT_0002_lung.JPG"))
    np.testing.assert_array_equal(volume.voxels[-2], second[::-1, ::-1])


def test_read_volume_tells_slices_from_a_series(tmp_path):
    volume = read_volume(save(tmp_path / "scan", grey()))
    np.testing.assert_array_equal(volume.voxels, read_slices(tmp_path / "scan").voxels)
    (tmp_path / "scan" / "notes.txt").write_text("mixed")
    for read in (read_slices, read_volume):
        assert "1 files are no images, first notes.txt" in read(tmp_path / "scan").warnings
    slices = write_series(tmp_path / "scan", series())
    assert read_volume(slices).warnings[0] == "31 files are no slices and were skipped, first 1.png"


def test_grey_images_saved_in_colour_are_read_and_counted(tmp_path):
    volume = read_slices(save(tmp_path / "scan", grey(), mode="RGB"))
    np.testing.assert_array_equal(volume.voxels[::-1], grey()[:, ::-1, ::-1])
    assert "grey images saved in colour (30 times)" in volume.warnings


def test_missing_numbers_are_mentioned(tmp_path):
    folder = save(tmp_path / "scan", grey())
    for number in (4, 5, 20):
        (folder / f"{number}.png").unlink()
    assert "slice numbers are missing in 2 places, first after 3" in read_slices(folder).warnings[0]


def broken(kind):
    def change(folder):
        first = folder / "1.png"
        if kind == "cut":
            first.write_bytes(first.read_bytes()[:300])
        elif kind == "text":
            first.write_text("Sign in to download")
        elif kind == "empty":
            first.write_bytes(b"")
        elif kind == "size":
            Image.fromarray(grey((9, 9))).save(folder / "7.png")
        elif kind == "colour":
            Image.fromarray(grey((26, 24, 3))).save(folder / "7.png")
        elif kind == "16 bits":
            Image.fromarray(grey((26, 24)).astype(np.uint16)).save(folder / "7.png")
        elif kind == "unnumbered":
            first.rename(folder / "scout.png")
        elif kind == "twice":
            Image.fromarray(grey((26, 24))).save(folder / "007.png")
        elif kind == "two scans":
            Image.fromarray(grey((26, 24))).save(folder / "B_99.png")
        elif kind == "large":
            picture = io.BytesIO()
            Image.new("L", (5000, 5000)).save(picture, "PNG")
            first.write_bytes(picture.getvalue())
        elif kind == "other":
            Image.fromarray(grey((26, 24))).save(first, "GIF")

    return change


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("cut", r"1\.png: damaged image"),
        ("text", r"1\.png: neither a JPEG nor a PNG"),
        ("empty", r"1\.png: neither a JPEG nor a PNG"),
        ("other", r"1\.png: neither a JPEG nor a PNG"),
        ("size", r"7\.png: 9 x 9 pixels, but 1\.png has 24 x 26"),
        ("colour", r"7\.png: a colour image"),
        ("16 bits", r"7\.png: 16 bits a pixel, but 1\.png has 8"),
        ("unnumbered", r"scout\.png: no slice number in its name"),
        ("twice", r"007\.png and 7\.png have the same slice number"),
        ("two scans", r"named in 2 ways \(#, B_#\)"),
        ("large", r"1\.png: 5000 x 5000 pixels, expected a CT slice"),
    ],
)
def test_a_broken_slice_is_refused_by_name_and_reason(kind, reason, tmp_path):
    folder = save(tmp_path / "scan", grey())
    broken(kind)(folder)
    with pytest.raises(VolumeError, match=reason):
        read_slices(folder)


def test_a_jpeg_under_the_name_of_a_png_is_read_with_a_warning(tmp_path):
    folder = save(tmp_path / "scan", grey(), format="JPEG")
    assert "JPEG images under the name of PNG (30 times)" in read_slices(folder).warnings


def test_wrong_calls_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such folder of slices"):
        read_slices(tmp_path / "absent")
    with pytest.raises(VolumeError, match="no JPG or PNG slices"):
        read_slices(tmp_path)
    with pytest.raises(ValueError, match="first is one of superior, inferior; got 'top'"):
        read_slices(tmp_path, first="top")


def test_a_real_folder_of_slices_is_read(shared_data):
    volume = read_slices(shared_data / "layouts" / "ctrg" / "chest_jpg" / "910")
    assert volume.voxels.shape == (64, 256, 256)
