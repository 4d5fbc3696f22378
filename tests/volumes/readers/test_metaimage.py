import gzip
import zlib

import numpy as np
import pytest
from meta_images import SHAPE, back, hu_like, meta_header, voxel_bytes, write

from mg3d.volumes.readers.metaimage import DTYPES
from mg3d.volumes.volume import VolumeError, read_volume

EYE = np.eye(3)


def test_voxels_and_geometry_are_those_of_the_header(tmp_path):
    volume = read_volume(write(tmp_path / "a.mha"))
    assert volume.warnings == ()
    assert volume.stored.axes == "LPS"
    assert volume.spacing_mm == pytest.approx((2.5, 0.7, 0.8))
    expected = [[-0.8, 0, 0, 80], [0, -0.7, 0, 70], [0, 0, 2.5, -300], [0, 0, 0, 1]]
    np.testing.assert_allclose(volume.stored.affine, expected)
    np.testing.assert_array_equal(back(volume), hu_like())


@pytest.mark.parametrize("signs", [(1, 1, 1), (-1, 1, 1), (1, -1, -1)])
@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 2, 0), (2, 1, 0)])
def test_any_orientation_keeps_a_marked_voxel_at_its_place(order, signs, tmp_path):
    """Row i of the matrix is where axis i runs; a marker's place is worked out by hand."""
    directions = EYE[list(order)] * np.array(signs)[:, None]
    hu = hu_like()
    hu[3, 5, 7] = 2500
    matrix = " ".join(f"{value:g}" for value in directions.ravel())
    path = write(
        tmp_path / "a.mha", voxel_bytes(hu), TransformMatrix=matrix, AnatomicalOrientation=None
    )
    volume = read_volume(path)
    left_posterior_superior = (
        np.array([-80, -70, -300])
        + 3 * 0.8 * directions[0]
        + 5 * 0.7 * directions[1]
        + 7 * 2.5 * directions[2]
    )
    here = np.argwhere(volume.values() == 2500)[0]
    place = (volume.affine @ [*here, 1])[:3] * [-1, -1, 1]
    np.testing.assert_allclose(place, left_posterior_superior, atol=1e-6)
    np.testing.assert_array_equal(back(volume), hu)


@pytest.mark.parametrize("kind", DTYPES)
@pytest.mark.parametrize("order", ["<", ">"])
def test_number_types_and_byte_orders(kind, order, tmp_path):
    values = np.random.default_rng(0).integers(0, 100, SHAPE)
    content = voxel_bytes(values, np.dtype(DTYPES[kind]).newbyteorder(order))
    msb = str(order == ">")
    volume = read_volume(
        write(tmp_path / "a.mha", content, ElementType=kind, BinaryDataByteOrderMSB=msb)
    )
    np.testing.assert_array_equal(back(volume), values)


def test_voxels_packed_as_gzip_equal_plain_ones(tmp_path):
    packed = gzip.compress(voxel_bytes())
    volume = read_volume(write(tmp_path / "a.mha", packed, CompressedData="True"))
    np.testing.assert_array_equal(back(volume), hu_like())
    damaged = packed[:-8] + b"abcd" + packed[-4:]
    path = write(tmp_path / "b.mha", damaged, CompressedData="True")
    with pytest.raises(VolumeError, match="gzip CRC mismatch"):
        read_volume(path)


def test_packed_and_separate_voxels_equal_plain_ones(tmp_path):
    packed = zlib.compress(voxel_bytes())
    write(tmp_path / "a.mha", packed, CompressedData="True", CompressedDataSize=len(packed))
    write(tmp_path / "b.mhd", b"", CompressedData="True", ElementDataFile="b.zraw")
    (tmp_path / "b.zraw").write_bytes(packed)
    write(tmp_path / "c.mhd", b"", ElementDataFile="göğüs 1.raw")
    (tmp_path / "göğüs 1.raw").write_bytes(voxel_bytes())
    write(tmp_path / "D.MHD", b"", ElementDataFile="d.raw", HeaderSize="10")
    (tmp_path / "d.raw").write_bytes(b"0123456789" + voxel_bytes())
    write(tmp_path / "e.mhd", b"", ElementDataFile="e.raw", HeaderSize="-1")
    (tmp_path / "e.raw").write_bytes(b"any header" + voxel_bytes())
    write(tmp_path / "named otherwise")
    windows = meta_header().replace(b"\n", b"\r\n")
    (tmp_path / "f.mha").write_bytes(windows + voxel_bytes())
    for name in ("a.mha", "b.mhd", "c.mhd", "D.MHD", "e.mhd", "named otherwise", "f.mha"):
        volume = read_volume(tmp_path / name)
        assert volume.warnings == (), name
        np.testing.assert_array_equal(back(volume), hu_like())


ASSUMED = {
    "no matrix": ({"TransformMatrix": None}, "axes taken from RAI"),
    "no directions": (
        {"TransformMatrix": None, "AnatomicalOrientation": "???"},
        "no directions in the header; axes taken as left, posterior, superior",
    ),
    "no origin": ({"Offset": None}, "no origin in the header; taken as 0"),
    "size": ({"ElementSpacing": None, "ElementSize": "0.8 0.7 2.5"}, "ElementSize was taken"),
    "byte order": ({"BinaryDataByteOrderMSB": None}, "taken as little-endian"),
    "letters": ({"AnatomicalOrientation": "LAI"}, "LAI disagrees with TransformMatrix"),
    "sheared": ({"TransformMatrix": "1 0 0 0 1 0 0 0.6 0.8"}, "sheared: axes 36.9 degrees"),
    "more": ({"content": voxel_bytes() + b"more"}, "4 bytes after the voxels were not read"),
}


@pytest.mark.parametrize("kind", ASSUMED)
def test_what_a_header_leaves_open_is_assumed_with_a_word(kind, tmp_path):
    changes, warning = ASSUMED[kind]
    volume = read_volume(write(tmp_path / "a.mha", **changes))
    assert warning in volume.warnings[0] and len(volume.warnings) == 1
    np.testing.assert_array_equal(back(volume), hu_like())


REFUSED = {
    "no image": ({"ObjectType": "Tube"}, "ObjectType is something else, expected Image"),
    "flat": ({"NDims": "2"}, "NDims is 2, expected 3"),
    "frames": ({"NDims": "4"}, "NDims is 4, expected 3"),
    "channels": ({"ElementNumberOfChannels": "3"}, "ElementNumberOfChannels is 3, expected 1"),
    "text": ({"BinaryData": "False"}, "BinaryData is something else, expected True"),
    "scaled": ({"ElementToIntensityFunctionSlope": "2"}, "Slope is 2, expected 1"),
    "maybe": (
        {"CompressedData": "maybe"},
        "CompressedData is something else, expected True or False",
    ),
    "no size": ({"DimSize": None}, "DimSize is missing, expected 3 numbers"),
    "half a size": ({"DimSize": "20 21"}, "DimSize is something else, expected 3 numbers"),
    "broken size": ({"DimSize": "20 21 2.5"}, "expected three whole numbers"),
    "negative": ({"DimSize": "20 -21 22"}, "expected three whole numbers"),
    "huge": ({"DimSize": "30000 30000 3000"}, "promises .* more than a.mha can hold"),
    "endless": ({"DimSize": "20 21 1e300"}, "promises .* more than a.mha can hold"),
    "unknown type": (
        {"ElementType": "MET_BLOB"},
        "ElementType is something else, expected one number",
    ),
    "no type": ({"ElementType": None}, "ElementType is missing"),
    "no spacing": ({"ElementSpacing": None}, "ElementSpacing is missing, expected 3 numbers"),
    "zero spacing": ({"ElementSpacing": "0.8 0.7 0"}, "spacing 0 on axis z"),
    "nan spacing": (
        {"ElementSpacing": "0.8 0.7 nan"},
        "ElementSpacing is something else, expected 3 numbers",
    ),
    "metres": ({"ElementSpacing": "800 700 2500"}, "are the header's units right"),
    "no rotation": ({"TransformMatrix": "2 0 0 0 1 0 0 0 1"}, "directions of length"),
    "one direction": ({"TransformMatrix": "1 0 0 1 0 0 0 0 1"}, "singular affine"),
    "two origins": ({"Position": "1 2 3"}, "Offset and Position, which differ"),
    "list": ({"ElementDataFile": "LIST"}, "spread over a list of files"),
    "pattern": ({"ElementDataFile": "s%03d.raw 1 22 1"}, "spread over a list of files"),
    "missing": ({"ElementDataFile": "a.raw"}, "data file a.raw is missing"),
    "outside": ({"ElementDataFile": "../a.raw"}, "expected a file beside the header"),
    "absolute": ({"ElementDataFile": "/a.raw"}, "expected a file beside the header"),
    "nameless": ({"ElementDataFile": ""}, "expected a file beside the header"),
    "short": ({"content": voxel_bytes()[:-2]}, "short payload or a wrong header"),
    "one slice": ({"DimSize": "20 462 1"}, "one slice only"),
    "not packed": ({"CompressedData": "True"}, "damaged zlib stream"),
    "cut": (
        {"CompressedData": "True", "content": zlib.compress(voxel_bytes())[:-99]},
        "truncated zlib stream",
    ),
    "checksum": (
        {"CompressedData": "True", "content": zlib.compress(voxel_bytes())[:-1] + b"\x07"},
        "zlib checksum mismatch",
    ),
    "short stream": (
        {"CompressedData": "True", "content": zlib.compress(voxel_bytes()[:-9])},
        "short payload: expected 18,480 bytes of voxels, got 18,471",
    ),
    "all nan": (
        {"ElementType": "MET_FLOAT", "content": voxel_bytes(np.full(SHAPE, np.nan), "<f4")},
        "no finite voxel",
    ),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_a_defect_made_here_is_refused_by_name_and_reason(kind, tmp_path):
    changes, reason = REFUSED[kind]
    with pytest.raises(VolumeError, match=reason) as error:
        read_volume(write(tmp_path / "a.mha", **changes))
    assert "a.mha" in str(error.value)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty file"),
        (b"<html>Sign in</html>", "looks like HTML"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS"),
        (b"ObjectType = Image\nNDims = 3\n", "names no ElementDataFile"),
        (b"ObjectType = Image\nNDims 3\n", "line 2 is not 'key = value'"),
        (b"\x00\x01\x02" * 99, "no MetaImage header: line 1"),
        (b"NDims = 3\nNDims = 2\nElementDataFile = LOCAL\n", "states NDims twice"),
    ],
)
def test_what_is_no_header_is_refused(content, reason, tmp_path):
    (tmp_path / "a.mhd").write_bytes(content)
    with pytest.raises(VolumeError, match=reason):
        read_volume(tmp_path / "a.mhd")


def test_voxels_may_not_start_behind_the_end_of_their_file(tmp_path):
    write(tmp_path / "a.mhd", b"", ElementDataFile="a.raw", HeaderSize="-1")
    (tmp_path / "a.raw").write_bytes(voxel_bytes()[:-1])
    with pytest.raises(VolumeError, match=r"cannot start at byte -1 of the 18,479 bytes of a\.raw"):
        read_volume(tmp_path / "a.mhd")


def test_a_missing_header_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"absent\.mha: there is no such volume"):
        read_volume(tmp_path / "absent.mha")
