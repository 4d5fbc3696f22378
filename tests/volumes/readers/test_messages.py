"""No message of any reader holds bytes of a file: there may be a name among them."""

import struct
import zlib

import nibabel as nib
import numpy as np
import pytest
from grey_slices import grey, save
from meta_images import meta_header

from mg3d.volumes.volume import VolumeError, read_volume

NAME = b"DOE^JANE 19530412"


def assert_refused_without_a_name(path):
    with pytest.raises(VolumeError) as error:
        read_volume(path)
    assert not [word for word in ("DOE", "JANE", "1953", "0412") if word in str(error.value)]
    return str(error.value)


def nifti(**fields):
    image = nib.Nifti1Image(np.zeros((20, 21, 22), np.int16), np.diag([-1.0, -1, 2, 1]))
    image.header["descrip"] = image.header["aux_file"] = NAME
    content = bytearray(image.to_bytes())
    for place, value in fields.values():
        content[place : place + len(value)] = value
    return bytes(content)


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "a.mha", "a.mhd"])
@pytest.mark.parametrize(
    "content",
    [
        NAME * 40,
        nifti(magic=(344, NAME[:4])),
        nifti(dim=(40, NAME[:16])),
        nifti(rows=(280, NAME)),
        nifti(offset=(108, NAME[:4])),
        nifti(codes=(252, NAME[:4])),
        nifti(kind=(70, NAME[:2])),
        meta_header()[:50] + NAME,
        NAME + b" = " + meta_header(),
        b"ObjectType = Image\n" + NAME + b"\nNDims = 3\nElementDataFile = LOCAL\n",
    ],
    ids=["text", "magic", "dim", "rows", "offset", "codes", "type", "cut", "key", "line"],
)
def test_r3_a_damaged_file_is_refused_without_its_bytes(content, name, tmp_path):
    (tmp_path / name).write_bytes(content)
    assert name in assert_refused_without_a_name(tmp_path / name)


@pytest.mark.parametrize("what", ["type of a chunk", "text of a chunk", "whole"])
def test_r3_a_damaged_picture_is_refused_without_its_bytes(what, tmp_path):
    folder = save(tmp_path / "scan", grey())
    content = (folder / "7.png").read_bytes()
    kind, text = (b"DOE^", b"1953") if what == "type of a chunk" else (b"tEXt", NAME)
    chunk = struct.pack(">I", len(text)) + kind + text + struct.pack(">I", zlib.crc32(text))
    damaged = NAME * 9 if what == "whole" else content[:33] + chunk + content[33:]
    (folder / "7.png").write_bytes(damaged)
    assert "7.png" in assert_refused_without_a_name(folder)


def test_11_what_macos_writes_beside_a_volume_is_named(tmp_path):
    (tmp_path / "._a.nii.gz").write_bytes(b"\0\x05\x16\x07\0\2\0\0Mac OS X" + NAME * 9)
    assert "AppleDouble" in assert_refused_without_a_name(tmp_path / "._a.nii.gz")
