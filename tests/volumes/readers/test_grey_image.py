"""Grey is read however it is saved; what is not grey is refused."""

import numpy as np
import pytest
from grey_slices import grey, save
from PIL import Image

from mg3d.volumes.intensity import EightBit
from mg3d.volumes.volume import VolumeError, read_volume


def picture(values, kind):
    """A grey image, saved in one way or another."""
    image = Image.fromarray(values)
    if kind == "palette":
        return image.convert("P")
    if kind == "turned palette":
        other = Image.fromarray(255 - values, "P")
        other.putpalette([255 - value // 3 for value in range(768)])
        return other
    if kind == "CMYK":
        nothing = Image.new("L", image.size)
        return Image.merge("CMYK", (nothing, nothing, nothing, Image.fromarray(255 - values)))
    return image.convert(kind)


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("palette", "a palette"),
        ("turned palette", "a palette"),
        ("LA", "an opaque alpha channel"),
        ("RGB", "in colour"),
        ("RGBA", "in colour with an opaque alpha channel"),
    ],
)
def test_20c_grey_is_read_however_a_png_holds_it(kind, said, tmp_path):
    folder = tmp_path / "scan"
    folder.mkdir()
    for number, values in enumerate(grey()):
        picture(values, kind).save(folder / f"{number}.png")
    volume = read_volume(folder)
    np.testing.assert_array_equal(volume.voxels[::-1], grey()[:, ::-1, ::-1])
    assert f"grey images saved {'with ' if said[0] == 'a' else ''}{said} (30 times)" in (
        volume.warnings
    )


def test_20c_cmyk_is_read_where_it_is_grey(tmp_path):
    folder = tmp_path / "scan"
    folder.mkdir()
    flat = np.full((24, 32), 7, np.uint8) * np.arange(24, dtype=np.uint8)[:, None, None]
    for number, values in enumerate(flat):
        picture(values, "CMYK").save(folder / f"{number}.jpg", quality=100)
    volume = read_volume(folder)
    assert np.abs(volume.voxels[::-1].astype(int) - flat).max() <= 1
    assert "grey images saved as CMYK (24 times)" in volume.warnings


def test_20c_sixteen_bits_keep_their_values(tmp_path):
    values = np.random.default_rng(0).integers(0, 65536, (24, 26, 28)).astype(np.uint16)
    volume = read_volume(save(tmp_path / "scan", values))
    np.testing.assert_array_equal(volume.voxels[::-1], values[:, ::-1, ::-1])
    with pytest.raises(VolumeError, match="expected 8-bit values, 0 to 255, got 0 to 655"):
        EightBit().scale(volume, hu_window=(-1000, 1000))


def changed(kind):
    values = grey((26, 24))
    colours = np.stack([values, values, values // 2], axis=-1)
    image = {
        "palette of colours": lambda: Image.fromarray(colours).convert("P"),
        "half transparent": lambda: picture(values, "LA"),
        "coloured RGBA": lambda: Image.fromarray(colours).convert("RGBA"),
        "one bit": lambda: Image.fromarray(values > 100),
        "transparent palette": lambda: picture(values, "palette"),
    }[kind]()
    if kind == "half transparent":
        image.putalpha(Image.fromarray(values))
    return image


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("palette of colours", "a colour image"),
        ("half transparent", "a partly transparent image"),
        ("coloured RGBA", "a colour image"),
        ("one bit", "an image of kind '1', expected 8-bit grey"),
        ("transparent palette", "a partly transparent image"),
    ],
)
def test_20c_what_is_not_grey_is_refused(kind, reason, tmp_path):
    folder = save(tmp_path / "scan", grey())
    settings = {"transparency": bytes(range(256))} if kind == "transparent palette" else {}
    changed(kind).save(folder / "7.png", **settings)
    with pytest.raises(VolumeError, match=rf"7\.png: {reason}"):
        read_volume(folder)


def test_an_image_that_its_exif_header_turns_is_refused(tmp_path):
    folder = save(tmp_path / "scan", grey(), name="{}.jpg")
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.fromarray(grey((26, 24))).save(folder / "7.jpg", exif=turned)
    with pytest.raises(VolumeError, match=r"7\.jpg: an image that its Exif header turns"):
        read_volume(folder)


def test_an_animated_png_is_refused(tmp_path):
    folder = save(tmp_path / "scan", grey())
    frames = [Image.fromarray(grey((26, 24), seed)) for seed in range(3)]
    frames[0].save(folder / "7.png", save_all=True, append_images=frames[1:])
    with pytest.raises(VolumeError, match=r"7\.png: an animated image"):
        read_volume(folder)


@pytest.mark.parametrize("name", ["Thumbs.db", "desktop.ini", "._1.png", "readme.txt", ".DS_Store"])
def test_11_foreign_files_among_slices_are_skipped_with_a_warning(name, tmp_path):
    plain = read_volume(save(tmp_path / "plain", grey()))
    folder = save(tmp_path / "scan", grey())
    (folder / name).write_bytes(b"\0\x05\x16\x07" + bytes(200))
    volume = read_volume(folder)
    np.testing.assert_array_equal(volume.voxels, plain.voxels)
    assert f"1 files are no images, first {name}" in volume.warnings
    assert len(volume.warnings) == len(plain.warnings) + 1
