"""Thousands of damaged files: refused by a message, or read as what the bytes say.

What no reader can notice (another number in a header that no checksum guards) is compared with a
second reader: nibabel for NIfTI, a few lines here for MetaImage. Where the format has a checksum
(gzip, zlib) or says everything once per slice (DICOM), nothing but the reference may come out,
unless a warning says what was odd.
"""

import gzip
import shutil
import warnings
import zlib

import nibabel as nib
import numpy as np
import pytest
from dicom_series import affine_of_series, hu_of_series, series, write_series
from mutations import mutated, time_limit

from mg3d.volumes.volume import VolumeError, read_volume, to_original

SHAPE = (20, 21, 22)
REFUSALS = (VolumeError, FileNotFoundError)
AFFINE = np.diag([-0.8, -0.7, 2.5, 1.0])


def reference():
    return np.random.default_rng(7).integers(-1000, 1500, SHAPE).astype(np.int16)


def read_or_refuse(path):
    """The volume; None where a message names the file and says something."""
    refusal = ""
    with time_limit():
        try:
            return read_volume(path)
        except REFUSALS as error:
            refusal = str(error)
    assert path.stem in refusal and len(refusal) > len(str(path)) + 15
    return None


def stored_values(volume):
    return to_original(volume.values(), volume.affine, volume.stored)


def nifti(version=nib.Nifti1Image, affine=AFFINE):
    image = version(reference(), affine)
    image.set_qform(affine, 1)
    return image.to_bytes()


def by_nibabel(content):
    """Values and affine of a second reader, None where it refuses."""
    kind = nib.Nifti2Image if content[:4] == (540).to_bytes(4, "little") else nib.Nifti1Image
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image = kind.from_bytes(content)
            return np.asarray(image.dataobj, np.float64), image.affine
    except Exception:
        return None


@pytest.mark.parametrize("version", [nib.Nifti1Image, nib.Nifti2Image])
def test_a_mutated_nifti_header_is_refused_or_read_as_nibabel_reads_it(version, tmp_path):
    generator, path, read, compared = np.random.default_rng(0), tmp_path / "p017.nii", 0, 0
    content = nifti(version)
    for _ in range(400):
        damaged = mutated(content, generator, until=540 if version is nib.Nifti2Image else 352)
        path.write_bytes(damaged)
        volume = read_or_refuse(path)
        if volume is None:
            continue
        read += 1
        assert np.isfinite(volume.values()).all() and np.isfinite(volume.affine).all()
        other = by_nibabel(damaged)
        if other is None or any("not scaled" in w or "NaN" in w for w in volume.warnings):
            assert volume.warnings or other is None
            continue
        values, affine = other
        compared += 1
        np.testing.assert_allclose(
            stored_values(volume), values.reshape(volume.stored.shape), rtol=1e-5, atol=1e-3
        )
        if not any("converted to mm" in w or "no geometry" in w for w in volume.warnings):
            np.testing.assert_allclose(volume.stored.affine, affine, rtol=1e-4, atol=1e-3)
    assert read > 50 and compared > 40


def test_a_mutated_gzip_stream_gives_the_reference_or_nothing(tmp_path):
    generator, path, read = np.random.default_rng(1), tmp_path / "p017.nii.gz", 0
    for level in (0, 1, 9):
        content = gzip.compress(nifti(), level)
        for _ in range(200):
            damaged = mutated(content, generator, until=40 if generator.random() < 0.3 else None)
            path.write_bytes(damaged)
            volume = read_or_refuse(path)
            if volume is None:
                continue
            read += 1  # the name or the time of the stream was hit, which nobody reads
            np.testing.assert_array_equal(stored_values(volume), reference())
            np.testing.assert_allclose(volume.stored.affine, AFFINE, atol=1e-5)
    assert read > 5


HEADER = (
    b"ObjectType = Image\nNDims = 3\nBinaryData = True\nBinaryDataByteOrderMSB = False\n"
    b"CompressedData = %s\nTransformMatrix = 1 0 0 0 1 0 0 0 1\nOffset = -80 -70 -300\n"
    b"AnatomicalOrientation = RAI\nElementSpacing = 0.8 0.7 2.5\nDimSize = 20 21 22\n"
    b"ElementType = MET_SHORT\nElementDataFile = LOCAL\n"
)


def by_hand(content):
    """What a MetaImage says, read in the most trusting way."""
    head, rest = content.split(b"ElementDataFile", 1)
    voxels = rest[rest.index(b"\n") + 1 :]
    lines = [line.partition(b"=") for line in head.splitlines()]
    fields = {key.strip().decode("latin-1"): value.decode("latin-1") for key, _, value in lines}
    numbers = {}
    for key, default in (
        ("DimSize", None),
        ("ElementSpacing", fields.get("ElementSize")),
        ("TransformMatrix", "1 0 0 0 1 0 0 0 1"),
        ("Offset", "0 0 0"),
    ):
        numbers[key] = np.array((fields.get(key) or default).split(), float)
    kinds = {"MET_SHORT": "i2", "MET_USHORT": "u2", "MET_CHAR": "i1", "MET_UCHAR": "u1"}
    big = fields.get("BinaryDataByteOrderMSB", "false").strip().lower() == "true"
    dtype = np.dtype((">" if big else "<") + kinds[fields["ElementType"].strip()])
    if fields.get("CompressedData", "false").strip().lower() == "true":
        voxels = zlib.decompress(voxels)
    shape = numbers["DimSize"].astype(int)
    values = np.frombuffer(voxels, dtype, int(shape.prod())).reshape(shape, order="F")
    affine = np.eye(4)
    affine[:3, :3] = numbers["TransformMatrix"].reshape(3, 3).T * numbers["ElementSpacing"]
    affine[:3, 3] = numbers["Offset"]
    return values, np.diag([-1, -1, 1, 1]) @ affine


@pytest.mark.parametrize("packed", [False, True])
def test_a_mutated_metaimage_is_refused_or_read_as_it_says(packed, tmp_path):
    generator, path, read = np.random.default_rng(2), tmp_path / "p017.mha", 0
    voxels = reference().tobytes(order="F")
    content = HEADER % str(packed).encode() + (zlib.compress(voxels) if packed else voxels)
    for _ in range(350):
        damaged = mutated(content, generator, until=len(HEADER))
        path.write_bytes(damaged)
        volume = read_or_refuse(path)
        if volume is None:
            continue
        read += 1
        values, affine = by_hand(damaged)
        if not any("axes taken from" in w for w in volume.warnings):
            np.testing.assert_allclose(volume.stored.affine, affine, atol=1e-6)
        np.testing.assert_array_equal(stored_values(volume), values)
    assert read > 20


def test_a_mutated_zlib_stream_gives_the_reference_or_nothing(tmp_path):
    generator, path = np.random.default_rng(3), tmp_path / "p017.mhd"
    path.write_bytes((HEADER % b"True").replace(b"LOCAL", b"p017.zraw"))
    packed = zlib.compress(reference().tobytes(order="F"), 1)
    for _ in range(150):
        (tmp_path / "p017.zraw").write_bytes(mutated(packed, generator))
        volume = read_or_refuse(path)
        if volume is not None:
            np.testing.assert_array_equal(stored_values(volume), reference())


PIXELS_AT = -2 * 7 * 9  # of a slice's file: the last bytes


@pytest.mark.parametrize("syntax", ["plain", "RLE"])
def test_a_mutated_slice_is_refused_or_changes_nothing_in_silence(syntax, tmp_path):
    """What one header says, the others say too, so that damage to what matters shows."""
    from pydicom.uid import RLELossless

    hu = hu_of_series((7, 9, 8))
    slices = series(hu)
    if syntax == "RLE":
        for data in slices:
            data.compress(RLELossless)
    folder = write_series(tmp_path / "p017", slices)
    generator, whole = np.random.default_rng(4), sorted(folder.iterdir())
    clean = {path: path.read_bytes() for path in whole}
    read = 0
    for number in range(350):
        path = whole[number % len(whole)]
        until = len(clean[path]) + PIXELS_AT if syntax == "plain" else None
        path.write_bytes(mutated(clean[path], generator, until=until))
        volume = read_or_refuse(folder)
        path.write_bytes(clean[path])
        if volume is None or len(volume.warnings) > 1:
            continue
        read += 1
        if syntax == "plain":  # nothing guards the pixels themselves
            np.testing.assert_array_equal(stored_values(volume), hu)
        np.testing.assert_allclose(volume.stored.affine, affine_of_series(), atol=0.21)
    assert read > 20


def test_a_mutated_picture_is_refused_or_read(tmp_path):
    from PIL import Image

    generator = np.random.default_rng(5)
    images = generator.integers(0, 256, (3, 24, 26)).astype(np.uint8)
    for kind, suffix in (("PNG", "png"), ("JPEG", "jpg")):
        folder = tmp_path / f"p017 {kind}"
        folder.mkdir()
        for number, image in enumerate(images):
            Image.fromarray(image).save(folder / f"{number}.{suffix}", kind)
        first = folder / f"0.{suffix}"
        content = first.read_bytes()
        for _ in range(100):
            first.write_bytes(mutated(content, generator))
            volume = read_or_refuse(folder)
            if volume is not None:
                assert volume.voxels.shape == (3, 24, 26)
                if kind == "PNG":  # guarded by checksums
                    expected = images[:, ::-1, ::-1][::-1]
                    np.testing.assert_array_equal(volume.voxels, expected)
        shutil.rmtree(folder)


def test_the_mutations_do_damage_most_of_what_they_touch():
    generator, content = np.random.default_rng(6), bytes(range(256))
    changed = [mutated(content, generator) != content for _ in range(300)]
    assert np.mean(changed) > 0.7
