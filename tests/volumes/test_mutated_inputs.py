"""Thousands of inputs of the kinds that people really have, each drawn anew from its kind.

The truth is known by construction. Allowed are the right value, a refusal that names the file, and
a warning that says how the file was understood; where the rule says what a warning means, the value
is compared all the same.
"""

from functools import partial
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from dicom_series import ORIGIN, hu_of_series, series, write_series
from meta_images import hu_like, meta_header, voxel_bytes
from mutations import time_limit

from mg3d.volumes.readers.payload import VolumeError
from mg3d.volumes.readers.slice_names import in_order
from mg3d.volumes.segmentation import check_pair
from mg3d.volumes.volume import read_volume, to_original

pytestmark = pytest.mark.thorough
NAME = "DOE^JANE 19530412"
SMALL = (4, 5, 6)  # columns, rows, slices


def result_or_reason(path, action):
    """What an action gives; None and the reason where it refuses a file by name."""
    result, reason = None, ""
    with time_limit():
        try:
            result = action()
        except VolumeError as error:
            reason = str(error)
    assert result is not None or path.name in reason
    return result, reason


def read_or_refuse(path):
    """The volume; None and the reason where it is refused by name."""
    return result_or_reason(path, lambda: read_volume(path))


def back(volume):
    return to_original(volume.values(), volume.affine, volume.stored)


MARKS = {
    "AcquisitionNumber": lambda g: int(g.integers(1, 9)),
    "EchoNumbers": lambda g: int(g.integers(1, 9)),
    "TemporalPositionIdentifier": lambda g: int(g.integers(1, 9)),
    "KVP": lambda g: int(g.choice([80, 100, 120, 140])),
    "ConvolutionKernel": lambda g: str(g.choice(["B30f", "B45f", "B60f", "BONE"])),
    "EchoTime": lambda g: round(float(g.uniform(1, 90)), 2),
    "ImageType": lambda g: ["ORIGINAL", "PRIMARY", str(g.choice(["AXIAL", "MIP", "HELIX"]))],
    "SeriesNumber": lambda g: int(g.integers(1, 9)),
    "SliceThickness": lambda g: float(g.choice([1.0, 1.25, 2.5, 5.0])),
}


def clock(seconds):
    return f"10{int(seconds // 60):02d}{seconds % 60:06.3f}"


def test_mutated_passes_are_refused_or_are_one(tmp_path):
    """Two passes, interleaved or in blocks, told apart by a field that may be equal by chance."""
    generator, refused, read = np.random.default_rng(0), 0, 0
    for number in range(160):
        name = str(generator.choice([*MARKS, "ContentTime", "AcquisitionTime", "InstanceNumber"]))
        blocks = generator.random() < 0.35
        count = int(generator.integers(3, 7))
        first = series(hu_of_series(SMALL, seed=1), InstanceNumber=None)
        shift = 2.5 * 6 if blocks else float(generator.choice([0.0, 0.5, 1.25]))
        origin = np.add(ORIGIN, [0, 0, shift])
        second = series(hu_of_series(SMALL, seed=2), origin=origin, InstanceNumber=None)
        second = second[:count] if blocks else second
        values = [MARKS[name](generator), MARKS[name](generator)] if name in MARKS else [0, 1]
        pause = float(generator.uniform(1, 90))
        for k, data in enumerate([*first, *second]):
            of_second, own = k >= 6, k % 6
            if name in MARKS:
                setattr(data, name, values[of_second])
            elif name == "InstanceNumber":
                data.InstanceNumber = k + 1
            else:
                setattr(data, name, clock(own * 0.3 + of_second * (1.8 + pause)))
        folder = write_series(tmp_path / f"p{number}", [*first, *second], seed=number)
        volume, reason = read_or_refuse(folder)
        if volume is None:
            refused += 1
            assert "passes in one series" in reason or (not blocks and values[0] == values[1])
            continue
        read += 1
        if blocks:  # one volume after the other: all slices, in order
            both = [hu_of_series(SMALL, seed=1), hu_of_series(SMALL, seed=2)[..., :count]]
            np.testing.assert_array_equal(back(volume), np.concatenate(both, axis=2))
            same = name not in MARKS or values[0] == values[1]
            assert same or f"values of {name}, one after the other" in str(volume.warnings)
        else:
            assert name in MARKS and values[0] == values[1]  # nothing tells the passes apart
    assert refused > 50 and read > 40


def test_mutated_padding_is_air_or_refused(tmp_path):
    """Any word around the image, in any number of bits, with any tag or none."""
    generator, read = np.random.default_rng(1), 0
    hu = np.clip(hu_of_series(SMALL), -1000, 900)
    border = np.zeros(SMALL[:2], bool)
    border[:, [0, -1]] = border[[0, -1]] = True
    for number in range(200):
        signed, bits = bool(generator.integers(2)), int(generator.choice([12, 13, 14, 16]))
        word = int(generator.choice([-2000, -2048, -3024, -8192, -32768, -1, -1024, -1025]))
        intercept = int(generator.choice([-1024, -1000])) if not signed else -1024
        stored = hu - intercept if bits > 11 else hu
        fields = {"RescaleIntercept": intercept, "BitsStored": bits, "HighBit": bits - 1}
        if generator.random() < 0.6:
            tag = word & 0xFFFF
            tag -= (tag >> 15 << 16) * signed
            fields["PixelPaddingValue"] = tag
            if generator.random() < 0.3:
                fields["PixelPaddingRangeLimit"] = tag
        if generator.random() < 0.2:
            fields["PhotometricInterpretation"] = "MONOCHROME1"
        slices = series(stored, offset=0, dtype=np.int16 if signed else np.uint16, **fields)
        for data in slices:
            words = np.frombuffer(data.PixelData, np.uint16).reshape(SMALL[1::-1]).copy()
            words[border.T] = word & 0xFFFF
            data.PixelData = words.tobytes()
        volume, reason = read_or_refuse(write_series(tmp_path / f"p{number}", slices))
        if volume is None:
            assert "sign" in reason
            continue
        read += 1
        values = back(volume)
        np.testing.assert_array_equal(values[~border], hu[~border])
        wanted = word + intercept  # what it means if the bits hold it
        assert (values[border] <= -1000).all() or (signed and (values[border] == wanted).all())
    assert read > 150


def test_mutated_scaled_labels_are_whole_or_refused(tmp_path):
    generator, read, exact = np.random.default_rng(2), 0, np.zeros((20, 21, 22), np.uint8)
    affine = np.diag([-0.8, -0.8, 2.0, 1.0])
    nib.save(nib.Nifti1Image(exact, affine), tmp_path / "image.nii")
    image = read_volume(tmp_path / "image.nii")
    for number in range(300):
        most = int(generator.integers(1, 9))
        values = generator.integers(0, most + 1, exact.shape).astype(np.float64)
        kind, path = int(generator.integers(4)), tmp_path / f"p{number}.nii"
        drawn = values.copy()
        if kind == 0:  # interpolated somewhere
            values[:2] += generator.uniform(0.1, 0.9)
        elif kind == 1:  # a little off everywhere
            values *= 1 + generator.uniform(-1e-4, 1e-4)
        elif kind == 2:
            values[3, 4, 5] = np.nan if generator.random() < 0.5 else most + 1
        dtype = generator.choice([np.uint8, np.int16, np.uint16, np.int32, np.float32, np.float64])
        nifti = nib.Nifti1Image(values, affine)
        nifti.set_data_dtype(dtype)
        nib.save(nifti, path)
        fitting = partial(check_pair, image, read_volume(path), range(most + 1))
        classes, _ = result_or_reason(path, fitting)
        if classes is None:
            assert kind in (0, 2)
            continue
        read += 1
        assert kind in (1, 3) or (kind == 2 and np.issubdtype(dtype, np.integer))
        found = to_original(classes, image.affine, image.stored)
        differ = found != drawn
        assert differ.sum() <= (kind == 2)
        path.unlink()
    assert read > 90


def test_mutated_header_keys_change_nothing_and_are_not_quoted(tmp_path):
    """Known keys in any order, strange keys and lines between them."""
    generator, read, path = np.random.default_rng(3), 0, tmp_path / "p017.mha"
    keys = ("0008|0005", "0010|0010", "Patient-ID", "Comment", "", "Größe", "A B", "DimSizes", "\t")
    voxels = voxel_bytes()
    for _ in range(400):
        lines = meta_header().decode().splitlines()
        head, last = [lines[k] for k in generator.permutation(len(lines) - 1)], lines[-1]
        strange = False
        for _ in range(int(generator.integers(1, 5))):
            place, kind = int(generator.integers(len(head) + 1)), int(generator.integers(5))
            key = str(generator.choice(keys))
            if kind < 3:
                head.insert(place, f"{key}{' ' * kind}={' ' * kind}{NAME}")
            elif kind == 3:
                head.insert(max(1, place), f"more about {NAME}")
                strange = True
            else:
                head.insert(place, f"{key} = {NAME} = {last}")
        end = "\r\n" if generator.random() < 0.3 else "\n"
        path.write_bytes(end.join([*head, last, ""]).encode() + voxels)
        volume, reason = read_or_refuse(path)
        said = reason if volume is None else str(volume.warnings)
        assert not [word for word in ("DOE", "JANE", "1953") if word in said]
        if volume is None:
            assert strange
            continue
        read += 1
        assert bool(volume.warnings) == strange
        np.testing.assert_array_equal(back(volume), hu_like())
        expected = [[-0.8, 0, 0, 80], [0, -0.7, 0, 70], [0, 0, 2.5, -300], [0, 0, 0, 1]]
        np.testing.assert_allclose(volume.stored.affine, expected)
    assert read > 250


def geometry(generator):
    """A rotation (often along the axes), and a spacing."""
    turn = np.eye(3)[generator.permutation(3)] * generator.choice([-1, 1], 3)
    if generator.random() < 0.4:
        turn = turn @ np.linalg.qr(np.eye(3) + generator.uniform(-0.2, 0.2, (3, 3)))[0]
    return turn, np.round(generator.uniform(0.4, 6, 3), 3)


@pytest.mark.parametrize("version", [nib.Nifti1Image, nib.Nifti2Image])
def test_mutated_geometries_are_true_or_refused_or_said(version, tmp_path):
    generator, counts = np.random.default_rng(4), dict.fromkeys(["true", "said", "refused"], 0)
    voxels = np.zeros((20, 21, 22), np.int16)
    for number in range(300):
        turn, spacing = geometry(generator)
        truth = np.eye(4)
        truth[:3, :3], truth[:3, 3] = turn * spacing, np.round(generator.uniform(-300, 300, 3))
        header = version(voxels, truth).header
        header.set_qform(truth, int(generator.integers(0, 3)))
        header.set_sform(truth, int(generator.integers(1, 5)))
        kind = int(generator.integers(7))
        if kind == 0:
            for name, row in zip(("srow_x", "srow_y", "srow_z"), turn, strict=True):
                header[name][:3] = row
        elif kind == 1:
            header["pixdim"][1:4] = generator.choice([0, 1, np.nan])
        elif kind == 2:
            header["pixdim"][1 + generator.integers(3)] *= generator.choice(
                [0.5, 0.97, 1.03, 2, 10]
            )
        elif kind == 3:
            header["pixdim"][1:4] *= -1
        elif kind == 4:
            header["sform_code"] = 0
        elif kind == 5:
            header["pixdim"][1:4] *= generator.uniform(0.995, 1.005, 3)
        path = tmp_path / f"p{number}.nii"
        path.write_bytes(header.binaryblock + bytes(4) + voxels.tobytes())
        volume, reason = read_or_refuse(path)
        path.unlink()
        right = volume is not None and np.allclose(
            volume.stored.affine, truth, atol=0.01
        )  # of a quaternion
        if volume is None:
            assert kind == 2 and "which is right" in reason
            counts["refused"] += 1
        elif kind in (0, 1):
            assert right and "taken" in volume.warnings[0]
            counts["said"] += 1
        elif right:
            assert kind in (2, 3, 4, 5, 6)
            counts["true"] += 1
        else:
            assert kind == 4 and "no geometry in the header" in volume.warnings[0]
            counts["said"] += 1
    assert min(counts.values()) > 15


def test_mutated_slice_names_are_in_order_or_refused(tmp_path):
    """A number that runs among others that do not, or that run as well."""
    generator, read = np.random.default_rng(5), 0
    for _ in range(500):
        count, start = int(generator.integers(3, 30)), int(generator.integers(-30, 120))
        runs = str(generator.choice(["{n}", "{n:04d}", "{n:.2f}", "{d:.2f}", "{d}"]))
        before = str(generator.choice(["", "slice_", "IM-", "p17_", "scan 3 z", "CT(", "a1.2.3."]))
        after = str(generator.choice(["", "_of_99", "_w1400", "_512x512", ")", "_{m}", "_s{two}"]))
        numbers = range(start, start + count)
        names = [
            (before + runs + after + ".png").format(n=n, d=n * 1.25, m=900 - n, two=n % 2)
            for n in numbers
        ]
        paths = [Path(name) for name in names]
        mixed = [paths[k] for k in generator.permutation(count)]
        found, _ = result_or_reason(Path("scan"), partial(in_order, Path("scan"), mixed))
        if found is None:
            unclear = before == "IM-" and ("2f" in runs or "d" in runs)
            assert start < 0 or "{" in after or "." in before or unclear
            continue
        read += 1
        hyphen = before == "IM-" and start < 0
        assert [path.name for path in found[0]] == names or hyphen
    assert read > 150
