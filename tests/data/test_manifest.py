import json

import numpy as np
import pytest
import torch

from mg3d.data.labels import CT_RATE_FINDINGS
from mg3d.data.manifest import columns_of, read_manifest, read_voxels, write_manifest
from mg3d.data.masks import read_masks
from mg3d.data.prepared import original_grid, read_facts, write_array
from mg3d.volumes.volume import to_original


def row(number=1, **changed):
    values = {
        "volume_id": f"train_{number}_a_1",
        "patient_id": f"train_{number}",
        "scan_id": f"train_{number}_a",
        "reconstruction": 1,
        "split": "train",
        "volume": f"volumes/train/train_{number}_a_1.safetensors",
        "findings": 'Commas, "quotes",\nlines, ×, göğüs. None',
        "impression": "",
        "masks": "",
        **dict.fromkeys(CT_RATE_FINDINGS, 0),
    }
    assert set(changed) <= set(values)
    return values | changed


def test_columns_are_the_ids_the_texts_the_18_findings_and_the_masks():
    columns = columns_of(CT_RATE_FINDINGS)
    assert columns[:9] == (
        "volume_id", "patient_id", "scan_id", "reconstruction", "split", "fold", "volume",
        "findings", "impression",
    )  # fmt: skip
    assert columns[9:27] == CT_RATE_FINDINGS
    assert columns[27:] == ("masks",)


def test_what_was_written_is_read_again(tmp_path):
    write_manifest(tmp_path, [row(1, Emphysema=1), row(2, split="val", Cardiomegaly=None)])
    (tmp_path / "dataset.json").write_text(json.dumps({"source": "phantom"}))
    for place in (tmp_path, tmp_path / "manifest.csv"):
        manifest = read_manifest(place)
        assert manifest.folder == tmp_path
        assert manifest.facts == {"source": "phantom"}
        assert manifest.labels == CT_RATE_FINDINGS
        assert tuple(manifest.rows.columns) == columns_of(CT_RATE_FINDINGS)
        assert manifest.rows["findings"][0] == row()["findings"]
        assert manifest.rows["impression"][0] == ""
        assert manifest.rows["Emphysema"].tolist() == [1.0, 0.0]
        assert np.isnan(manifest.rows["Cardiomegaly"][1])
        assert manifest.rows["reconstruction"].tolist() == [1, 1]


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"volume_id": "train_1_a_1"}, "column volume_id, row 2.*there twice"),
        ({"patient_id": ""}, "column patient_id, row 2.*expected a value"),
        ({"split": "valid"}, "column split, row 2 .* got 'valid', expected one of train, val"),
        ({"volume": "/etc/passwd"}, "column volume, row 2.*inside the folder"),
        ({"masks": "../../x"}, "column masks, row 2.*inside the folder"),
        ({"Emphysema": 2}, "column Emphysema, row 2 .volume train_2_a_1.: got '2', expected 0, 1"),
        ({"Emphysema": "yes"}, "column Emphysema, row 2.*got 'yes'"),
        ({"reconstruction": "b"}, "column reconstruction, row 2.*whole number"),
    ],
)
def test_a_wrong_field_is_named_with_file_column_and_row(changed, reason, tmp_path):
    write_manifest(tmp_path, [row(1), row(2, **changed)])
    with pytest.raises(ValueError, match=reason) as error:
        read_manifest(tmp_path)
    assert "manifest.csv" in str(error.value)


def test_a_patient_in_two_splits_is_neither_written_nor_read(tmp_path):
    rows = [row(1), row(2, patient_id="train_1", split="val")]
    with pytest.raises(ValueError, match="patient train_1 is in split 'train' and in split 'val'"):
        write_manifest(tmp_path, rows)
    write_manifest(tmp_path, [row(1), row(2, split="val")])
    path = tmp_path / "manifest.csv"
    path.write_text(path.read_text().replace("train_2,", "train_1,"))
    with pytest.raises(ValueError, match="patient train_1 is in split 'train' and in split 'val'"):
        read_manifest(tmp_path)


def test_a_missing_column_is_named(tmp_path):
    write_manifest(tmp_path, [row()])
    (tmp_path / "dataset.json").write_text(json.dumps({"labels": CT_RATE_FINDINGS}))
    path = tmp_path / "manifest.csv"
    path.write_text(path.read_text().replace("Hiatal hernia", "Hernia"))
    with pytest.raises(ValueError, match=r"lacks the columns Hiatal hernia; it has .*Hernia"):
        read_manifest(tmp_path)


def test_a_folder_that_was_not_prepared_is_refused_with_the_way_out(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no prepared folder.*data_prep\.ct_rate"):
        read_manifest(tmp_path)
    (tmp_path / "manifest.csv").write_bytes(b"")
    with pytest.raises(ValueError, match="cannot be read"):
        read_manifest(tmp_path)
    write_manifest(tmp_path, [])
    with pytest.raises(ValueError, match=r"no rows; see refused\.csv"):
        read_manifest(tmp_path)


@pytest.mark.parametrize(
    ("stored", "unit"),
    [
        (np.array([[[0, 51, 255]]], np.uint8), [0, 0.2, 1]),
        (np.array([[[0, 0.5, 1]]], np.float16), [0, 0.5, 1]),
    ],
)
def test_voxels_are_read_as_0_to_1(stored, unit, tmp_path):
    write_array(tmp_path / "a.safetensors", "volume", stored, {})
    voxels = read_voxels(tmp_path / "a.safetensors")
    torch.testing.assert_close(voxels, torch.tensor([[unit]]))
    assert voxels.dtype == torch.float32


def test_masks_are_read_bit_by_bit(tmp_path):
    masks = np.arange(24, dtype=np.int32).reshape(2, 3, 4) << 13
    write_array(tmp_path / "m.safetensors", "masks", masks, {})
    np.testing.assert_array_equal(read_masks(tmp_path / "m.safetensors").numpy(), masks)


def test_a_damaged_or_foreign_file_is_named(tmp_path):
    path = tmp_path / "a.safetensors"
    write_array(path, "volume", np.zeros((4, 4, 4), np.uint8), {"volume_id": "a"})
    with pytest.raises(ValueError, match=r"a\.safetensors has no array 'masks'"):
        read_masks(path)
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(ValueError, match=r"a\.safetensors is damaged"):
        read_voxels(path)
    assert read_facts(path) == {}
    with pytest.raises(FileNotFoundError):
        read_voxels(tmp_path / "absent.safetensors")


def test_facts_lead_back_to_the_original_grid(tmp_path):
    affine = np.zeros((4, 4))
    affine[[2, 1, 0, 3], [0, 1, 2, 3]] = 1
    facts = {
        "affine": affine.tolist(),
        "source_shape": [4, 3, 2],
        "source_affine": np.eye(4).tolist(),
    }
    array = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    write_array(tmp_path / "a.safetensors", "volume", array, facts)
    place, stored = original_grid(read_facts(tmp_path / "a.safetensors"))
    np.testing.assert_array_equal(to_original(array, place, stored), array.T)
