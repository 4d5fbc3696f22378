"""What data sets differ in: labels, classes, folds, tables, masks, and splits that leak."""

import csv
from dataclasses import replace

import numpy as np
import pytest

from mg3d.data.manifest import LEAK, read_manifest, write_manifest
from mg3d.data.masks import MaskMeaning, read_masks
from mg3d.data.prepared import read_facts, write_masks
from mg3d.preparation.finish import finish, make_plan
from mg3d.preparation.prepare import (
    DatasetDescription,
    PrepareSettings,
    RunOptions,
    ScanRecord,
    prepare,
)
from mg3d.preparation.prepare_volume import Outcome
from mg3d.volumes.grid import Grid
from mg3d.volumes.intensity import EightBit
from mg3d.volumes.volume import write_nifti

SETTINGS = PrepareSettings(grid=Grid((4, 4, 4)))


@pytest.fixture
def records(tmp_path):
    raw = tmp_path / "raw"
    hu = np.full((8, 8, 8), -1000, np.int16)
    hu[2:6] = 40
    made = []
    for number in range(4):
        write_nifti(raw / f"{number}.nii", hu, np.eye(4))
        ids = {"volume_id": f"v{number}", "patient_id": f"p{number // 2}", "scan_id": f"s{number}"}
        made.append(ScanRecord(**ids, split="train", volume=raw / f"{number}.nii"))
    return made


def run(records, output, settings=SETTINGS, **described):
    root = records[0].volume.parent
    dataset = DatasetDescription(**{"source": "test", "root": root} | described)
    return prepare(records, output, dataset, RunOptions(settings=settings, workers=0))


def table(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_any_labels_by_name_with_unknown_ones(records, tmp_path):
    labels = [{"target": 2, "age": 61.5}, {"target": 0}, {"age": None}, {}]
    records = [replace(r, labels=its) for r, its in zip(records, labels, strict=True)]
    classes = {"target": ("Normal", "CP", "NCP")}
    run(records, tmp_path / "out", labels=("target", "age"), label_classes=classes)
    manifest = read_manifest(tmp_path / "out")
    assert manifest.labels == ("target", "age")
    np.testing.assert_array_equal(manifest.rows["target"], [2, 0, np.nan, np.nan])
    np.testing.assert_array_equal(manifest.rows["age"], [61.5, np.nan, np.nan, np.nan])
    counts = manifest.facts["counts"]
    assert counts["of_class"] == {"target": {"Normal": 1, "CP": 0, "NCP": 1}}
    assert counts["positive"] == {"age": 1}
    assert counts["unknown_labels"] == 5
    assert (manifest.rows["findings"] == "").all()


@pytest.mark.parametrize(
    ("labels", "classes", "value", "reason"),
    [
        (("split",), {}, {}, "label columns split are taken already"),
        (("a", "a"), {}, {}, "label columns a are taken already"),
        (("a",), {}, {"b": 1}, "labels b are not declared"),
        (("a",), {"b": ("x",)}, {}, "labels b are not declared"),
        (("a",), {"a": ("x", "y")}, {"a": 2}, r"v0: label a is 2, expected 0 to 1 \(x, y\)"),
    ],
)
def test_labels_that_an_importer_got_wrong(labels, classes, value, reason, records, tmp_path):
    records[0] = replace(records[0], labels=value)
    with pytest.raises(ValueError, match=reason):
        run(records, tmp_path / "out", labels=labels, label_classes=classes)


def test_a_class_nobody_declared_is_refused_when_read(records, tmp_path):
    records = [replace(r, labels={"target": 1}) for r in records]
    run(records, tmp_path / "out", labels=("target",), label_classes={"target": ("a", "b")})
    path = tmp_path / "out/manifest.csv"
    path.write_text(path.read_text().replace(",1,\n", ",2,\n", 1))
    with pytest.raises(ValueError, match=r"column target, row 1 .* got '2', expected 0 to 1 or"):
        read_manifest(tmp_path / "out")


def test_folds_are_a_column_and_are_counted(records, tmp_path):
    records = [replace(r, fold=r.patient_id[1:]) for r in records[:3]] + records[3:]
    run(records, tmp_path / "out")
    manifest = read_manifest(tmp_path / "out")
    assert manifest.rows["fold"].tolist() == ["0", "0", "1", ""]
    assert manifest.facts["counts"]["volumes_of_fold"] == {"0": 2, "1": 1}


def test_tables_lose_the_rows_of_refused_volumes(records, tmp_path):
    records[1].volume.write_bytes(b"no volume")
    rows = [{"volume_id": f"v{n}", "x": n / 3, "note": "a, b"} for n in (0, 1, 1, 3)]
    done = run(records, tmp_path / "out", tables={"candidates.csv": rows, "empty.csv": []})
    assert len(done.refused) == 1
    assert [row["volume_id"] for row in table(tmp_path / "out/candidates.csv")] == ["v0", "v3"]
    assert table(tmp_path / "out/candidates.csv")[1] == {
        "volume_id": "v3",
        "x": "1.0",
        "note": "a, b",
    }
    facts = read_manifest(tmp_path / "out").facts["tables"]
    assert facts["candidates.csv"]["rows"] == 2
    assert facts["candidates.csv"]["left_out_with_their_volume"] == 2
    assert len(facts["candidates.csv"]["sha256"]) == 64


def test_a_patient_on_two_sides_is_refused_unless_the_released_split_is_named(records, tmp_path):
    records[1] = replace(records[1], split="val")
    with pytest.raises(ValueError, match="patient p0 is in split 'train' and in split 'val'"):
        run(records, tmp_path / "out")
    run(records, tmp_path / "out", released_split="as published")
    manifest = read_manifest(tmp_path / "out")
    assert manifest.facts[LEAK] == {
        "split": "as published",
        "patients_on_two_sides": 1,
        "volumes_of_them": {"train": 1, "val": 1},
        "patients_of_split": {"train": 2, "val": 1},
    }


def test_tables_are_not_written_with_a_leak_that_nobody_asked_for(records, tmp_path):
    records[1] = replace(records[1], split="val")
    plan = make_plan(records, SETTINGS, DatasetDescription(source="test", root=tmp_path), {})
    outcomes = {
        record.volume_id: Outcome({"source_file": "", "warnings": []}) for record in records
    }
    with pytest.raises(ValueError, match="patient p0 is in split 'train' and in split 'val'"):
        finish(tmp_path, plan, outcomes)


def test_masks_of_another_making_are_made_again(records, tmp_path):
    write_nifti(tmp_path / "raw/m.nii", np.ones((8, 8, 8), np.uint8), np.eye(4))
    records = [replace(r, masks=tmp_path / "raw/m.nii") for r in records]
    how = {"masks": MaskMeaning("classes", ("a",))}
    run(records, tmp_path / "out", **how)
    path = tmp_path / "out/masks/train/v1.safetensors"
    content, facts = path.read_bytes(), read_facts(path)
    write_masks(path, np.zeros((4, 4, 4), np.uint8), facts | {"voxels_sha256": "another"})
    assert run(records, tmp_path / "out", **how).kept == 3
    assert path.read_bytes() == content


def test_a_released_split_without_leak_has_no_note(records, tmp_path):
    run(records, tmp_path / "out", released_split="as published")
    assert LEAK not in read_manifest(tmp_path / "out").facts
    with pytest.raises(ValueError, match="so scores would be too good"):
        write_manifest(
            tmp_path,
            [{"patient_id": "p", "split": s, "volume_id": s} for s in ("train", "val")],
            (),
        )


def test_class_masks_become_small_numbers(records, tmp_path):
    masks = np.zeros((8, 8, 8), np.float32)
    masks[2:4], masks[6:] = 1, 2
    write_nifti(tmp_path / "raw/m.nii", masks, np.eye(4))
    records = [replace(r, masks=tmp_path / "raw/m.nii") for r in records[:1]] + records[1:]
    with pytest.raises(ValueError, match=r"1 volumes have masks, first v0, but what they mean"):
        run(records, tmp_path / "out")
    run(records, tmp_path / "out", masks=MaskMeaning("classes", ("liver", "tumour")))
    manifest = read_manifest(tmp_path / "out")
    assert manifest.masks_mean == MaskMeaning("classes", ("liver", "tumour"))
    found = read_masks(tmp_path / "out" / manifest.rows["masks"][0])
    assert sorted(found.unique().tolist()) == [0, 1, 2]
    assert manifest.rows["masks"].tolist()[1:] == ["", "", ""]
    done = run(records, tmp_path / "out", masks=MaskMeaning("classes", ("liver",)))
    assert "label 2 outside the declared classes 0, 1" in done.refused[0].reason


def test_what_masks_mean_is_part_of_the_request(records, tmp_path):
    write_nifti(tmp_path / "raw/m.nii", np.ones((8, 8, 8), np.uint8), np.eye(4))
    records = [replace(r, masks=tmp_path / "raw/m.nii") for r in records]
    run(records, tmp_path / "out", masks=MaskMeaning("bits", ("a",)))
    done = run(records, tmp_path / "out", masks=MaskMeaning("classes", ("a",)))
    assert done.kept == 0


@pytest.mark.parametrize(
    ("kind", "names"),
    [("bits", ()), ("", ("a",)), ("colours", ("a",)), ("bits", tuple("a" * 32))],
)
def test_impossible_meanings_of_masks_are_refused(kind, names):
    with pytest.raises(ValueError, match=r"masks are|have up to"):
        MaskMeaning(kind, names)


def test_pictures_without_hu_say_so(records, tmp_path):
    for record in records:
        grey = np.zeros((8, 8, 8), np.uint8)
        grey[2:6] = 204
        write_nifti(record.volume, grey, np.eye(4))
    assert len(run(records, tmp_path / "out").refused) == 4
    settings = replace(SETTINGS, intensity=EightBit())
    done = run(records, tmp_path / "out", settings)
    assert (done.taken, done.kept) == (4, 0)
    facts = read_manifest(tmp_path / "out").facts
    assert facts["unit"] == ["0 to 1"]
    assert facts["rescale"] == {"8 bit": 4}
    assert facts["hu_landmarks"] is None
