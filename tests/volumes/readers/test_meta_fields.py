"""Unknown keys are passed over, known ones are believed, and none is quoted."""

import numpy as np
import pytest
from meta_images import HEADER, back, hu_like, meta_header, voxel_bytes, write

from mg3d.volumes.rescale import decide_rescale
from mg3d.volumes.volume import VolumeError, read_volume

NAME = "DOE^JANE 19530412"
KEYS = (
    "0008|0005",
    "0010|0010",
    "Patient-ID",
    "Patient Name",
    "ITK.note",
    "Größe",
    "0x10",
    "_a",
    "",
)


def with_lines(lines, **changes):
    """A header with further lines after its second, and the voxels."""
    head = meta_header(**changes).decode().splitlines()
    return "\n".join([*head[:2], *lines, *head[2:], ""]).encode() + voxel_bytes()


def assert_reference(volume):
    np.testing.assert_array_equal(back(volume), hu_like())
    expected = [[-0.8, 0, 0, 80], [0, -0.7, 0, 70], [0, 0, 2.5, -300], [0, 0, 0, 1]]
    np.testing.assert_allclose(volume.stored.affine, expected)


@pytest.mark.parametrize("suffix", ["mha", "mhd"])
@pytest.mark.parametrize("key", KEYS)
def test_r3_keys_of_other_programs_are_passed_over(key, suffix, tmp_path):
    path = tmp_path / f"a.{suffix}"
    changes = {} if suffix == "mha" else {"ElementDataFile": "a.raw"}
    content = with_lines([f"{key} = {NAME}", f"{key} = twice = {NAME}"], **changes)
    if suffix == "mhd":
        content, voxels = content[: -len(voxel_bytes())], voxel_bytes()
        (tmp_path / "a.raw").write_bytes(voxels)
    path.write_bytes(content)
    volume = read_volume(path)
    assert_reference(volume)
    assert volume.warnings == ()


def test_r3_a_copied_text_of_several_lines_is_passed_over_with_a_warning(tmp_path):
    lines = [f"0010|4000 = first line of {NAME}", f"second line of {NAME}", "", "third"]
    (tmp_path / "a.mha").write_bytes(with_lines(lines))
    volume = read_volume(tmp_path / "a.mha")
    assert_reference(volume)
    assert volume.warnings == ("2 header lines that are not 'key = value' were passed over",)


def test_r3_a_header_full_of_copied_tags_is_read(tmp_path):
    lines = [f"0009|{number:04x} = {'private ' * 30}" for number in range(1000)]
    (tmp_path / "a.mha").write_bytes(with_lines(lines))
    assert_reference(read_volume(tmp_path / "a.mha"))


@pytest.mark.parametrize("key", [*HEADER, "HeaderSize", "Modality", "ElementSize", "Position"])
@pytest.mark.parametrize("value", [NAME, f"1 {NAME}", f"{NAME}.raw", f"../{NAME}", f"LIST {NAME}"])
def test_r3_no_message_quotes_a_header(key, value, tmp_path):
    path = write(tmp_path / "a.mha", **{"AnatomicalOrientation": None, key: value})
    if key == "HeaderSize":
        write(path, **{"ElementDataFile": "b.raw", key: value})
        (tmp_path / "b.raw").write_bytes(voxel_bytes())
    try:
        said = str(read_volume(path).warnings)
    except VolumeError as error:
        said = str(error)
    assert not [word for word in ("DOE", "JANE", "1953", "0412") if word in said]


@pytest.mark.parametrize("line", [f"DimSize 20 21 22 {NAME}", f"ElementSpacing: {NAME}"])
def test_a_known_key_without_its_equals_sign_is_refused(line, tmp_path):
    (tmp_path / "a.mha").write_bytes(with_lines([line]))
    with pytest.raises(VolumeError, match="line 3 is not 'key = value'") as error:
        read_volume(tmp_path / "a.mha")
    assert "DOE" not in str(error.value)


@pytest.mark.parametrize("value", ["1", "1.0", "1.000000", "1e0"])
def test_a_number_is_compared_as_a_number(value, tmp_path):
    volume = read_volume(write(tmp_path / "a.mha", ElementToIntensityFunctionSlope=value))
    assert_reference(volume)


@pytest.mark.parametrize(
    ("fields", "modality"),
    [
        ({"Modality": "MET_MOD_CT"}, "CT"),
        ({"Modality": "MET_MOD_MR"}, "MR"),
        ({"Modality": "MET_MOD_UNKNOWN"}, ""),
        ({"0008|0060": "PT"}, "PT"),
        ({"0008|0060": NAME}, "another"),
        ({}, ""),
    ],
)
def test_r2_the_modality_of_a_metaimage_counts(fields, modality, tmp_path):
    hu = np.where(np.arange(22) < 11, -900, 40) + np.zeros((20, 21, 1))
    volume = read_volume(write(tmp_path / "a.mha", voxel_bytes(hu), **fields))
    assert volume.modality == modality
    if modality in ("", "CT"):
        assert decide_rescale(volume).rule == "as stored"
    else:
        with pytest.raises(VolumeError, match=f"modality: {modality}"):
            decide_rescale(volume)


@pytest.mark.parametrize(
    ("spacing", "size", "expected", "said"),
    [
        ("1 1 1", "0.8 0.7 2.5", (2.5, 0.7, 0.8), "ElementSize was taken: 0.8 x 0.7 x 2.5 mm"),
        ("0.8 0.7 2.5", "0.8 0.7 5", (2.5, 0.7, 0.8), "ElementSpacing was taken"),
        ("0.8 0.7 2.5", "1 1 1", (2.5, 0.7, 0.8), "ElementSpacing was taken"),
        ("0.8 0.7 2.5", "0.8 0.7 2.5", (2.5, 0.7, 0.8), ""),
        ("1 1 1", "0 0 0", (1, 1, 1), ""),
    ],
)
def test_r1_a_spacing_of_ones_gives_way_to_another_statement(
    spacing, size, expected, said, tmp_path
):
    volume = read_volume(write(tmp_path / "a.mha", ElementSpacing=spacing, ElementSize=size))
    assert volume.spacing_mm == pytest.approx(expected)
    assert said in str(volume.warnings) and bool(volume.warnings) == bool(said)


def test_a_centre_of_rotation_moves_nothing_and_is_mentioned(tmp_path):
    volume = read_volume(write(tmp_path / "a.mha", CenterOfRotation="10 20 30"))
    assert_reference(volume)
    assert "CenterOfRotation was ignored" in volume.warnings[0]


def test_an_orientation_that_disagrees_with_the_matrix_is_mentioned(tmp_path):
    volume = read_volume(write(tmp_path / "a.mha", AnatomicalOrientation="LPS"))
    assert_reference(volume)
    assert "AnatomicalOrientation LPS disagrees with TransformMatrix" in volume.warnings[0]
