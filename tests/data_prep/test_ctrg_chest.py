import csv
import json
import random

import numpy as np
import pytest
from mutated import mutate
from PIL import Image
from real_reports import records_of_ctrg

from data_prep.ctrg_chest import (
    LABELS,
    LABELS_NAME,
    RECORDS_NAME,
    main,
    prepare_ctrg_chest,
    read_codes,
)
from data_prep.ctrg_records import read_records
from data_prep.phantom.layouts.ctrg import (
    SHAPE,
    SPACING_MM,
    codes_of,
    write_ctrg_chest,
    write_ctrg_chest_jpg,
)
from data_prep.phantom.layouts.slices import to_grey
from data_prep.tables import TableError
from mg3d.data.manifest import LEAK, read_manifest
from mg3d.data.prepared import read_array
from mg3d.phantom.patient import draw_patient
from mg3d.phantom.report import write_report
from mg3d.phantom.scanner import draw_scan
from mg3d.preparation.prepare import PrepareSettings, RunOptions
from mg3d.volumes.grid import Grid
from mg3d.volumes.intensity import EightBit

AS_IT_IS = PrepareSettings(grid=Grid(None), intensity=EightBit())
RECORD = {"report": "Heart is normal.", "result": "Normal."}


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ctrg")
    write_ctrg_chest(folder, 7, seed=0)
    return folder


def prepared(source, output, *, settings=AS_IT_IS, **how):
    return prepare_ctrg_chest(source, output, RunOptions(workers=0, settings=settings), **how)


def grey_of(patient):
    return to_grey(draw_scan(draw_patient(0, patient), SHAPE, SPACING_MM).hu)


def refused(folder):
    with (folder / "refused.csv").open(newline="", encoding="utf-8") as file:
        return {row["file"].split(":")[-1]: row["reason"] for row in csv.DictReader(file)}


def write_json(folder, content, name=RECORDS_NAME):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(json.dumps(content))
    return folder / name


def record(case, **other):
    return {"id": f"{case}.nii.gz", "image_path": f"./v/{case}.nii.gz", **RECORD, **other}


def test_a_phantom_in_this_layout_comes_back_as_it_was_made(raw, tmp_path):
    done = prepared(raw, tmp_path)
    assert done.exit_status == 0
    manifest = read_manifest(tmp_path)
    assert manifest.facts["unit"] == ["0 to 1"]
    assert sorted(manifest.rows["volume_id"], key=int) == [str(10 * n) for n in range(7)]
    for _, row in manifest.rows.iterrows():
        patient = int(row["volume_id"]) // 10
        report, codes = write_report(draw_patient(0, patient)), codes_of(draw_patient(0, patient))
        assert (read_array(tmp_path / row["volume"], "volume") == grey_of(patient)).all()
        assert (row["findings"], row["impression"]) == (report.findings, report.impression)
        assert row[list(LABELS)].tolist() == [float(code == 1) for code in codes]
    with (tmp_path / "chexbert.csv").open(newline="") as file:
        table = {row["volume_id"]: row for row in csv.DictReader(file)}
    for patient in range(7):
        codes = [table[str(10 * patient)][name] for name in LABELS]
        assert codes == [str(code) for code in codes_of(draw_patient(0, patient))]


def test_jpg_folders_come_back_in_their_order_and_direction(tmp_path):
    write_ctrg_chest_jpg(tmp_path / "raw", 3, seed=0)
    done = prepared(tmp_path / "raw", tmp_path / "out")
    assert done.exit_status == 0
    assert done.taken == 3
    for _, row in read_manifest(done.folder).rows.iterrows():
        patient = int(row["volume_id"]) // 10
        voxels = read_array(done.folder / row["volume"], "volume").astype(int)
        assert np.abs(voxels - grey_of(patient)).mean() < 3  # JPG loses a little
        first = np.asarray(Image.open(tmp_path / f"raw/chest_jpg/{10 * patient}/0001.jpg"))
        assert (voxels[-1, ::-1, ::-1] == first).all()
        assert row["findings"] == write_report(draw_patient(0, patient)).findings


def test_val_is_held_out_of_train_and_test_is_as_released(tmp_path, raw):
    records = {
        "train": [record(n) for n in range(100)],
        "val": [record(n) for n in range(100, 120)],
    }
    records["test"] = records["val"]
    path = write_json(tmp_path, records)
    for split in records.values():
        for entry in split:
            (tmp_path / "v").mkdir(exist_ok=True)
            (tmp_path / entry["image_path"]).write_bytes(
                (raw / "Chest_New_nitfy_2/0.nii.gz").read_bytes()
            )
    settings = PrepareSettings(grid=Grid((2, 2, 2)), intensity=EightBit())
    prepared(tmp_path, tmp_path / "out", records=path, settings=settings)
    manifest = read_manifest(tmp_path / "out")
    cases = manifest.rows.groupby("split")["patient_id"].agg(set)
    assert cases["test"] == {str(n) for n in range(100, 120)}
    assert 4 <= len(cases["val"]) <= 20
    assert len(cases["train"]) + len(cases["val"]) == 100
    assert LEAK not in manifest.facts
    assert "the same 20 scans" in manifest.facts["released_split"]
    assert manifest.facts["repeated_reports"]["test_texts_also_in_train"] == 20


def test_the_released_split_says_that_val_is_test(raw, tmp_path, caplog):
    prepared(raw, tmp_path, split="released")
    manifest = read_manifest(tmp_path)
    cases = manifest.rows.groupby("split")["patient_id"].agg(set)
    assert cases["val"] == cases["test"] == {"10", "60"}
    assert manifest.facts[LEAK]["patients_on_two_sides"] == 2
    assert "selecting on val is selecting on test" in manifest.facts["released_split"]
    assert "the same 2 scans" in caplog.text


def test_the_list_layout_has_a_split_by_id_and_the_released_one_by_position(tmp_path):
    write_ctrg_chest_jpg(tmp_path / "raw", 1, seed=0)
    pictures = tmp_path / "raw/chest_jpg/0"
    entries = []
    for number in range(20):
        folder = tmp_path / "many" / "jpg" / str(number)
        folder.mkdir(parents=True)
        for picture in sorted(pictures.iterdir())[:9]:
            (folder / picture.name).write_bytes(picture.read_bytes())
        entries.append({"image_path": f"jpg/{number}", **RECORD})
    path = write_json(tmp_path / "many", entries, "list.json")
    settings = PrepareSettings(grid=Grid((2, 2, 2)), intensity=EightBit())
    for split, expected in (
        ("released", ["train"] * 16 + ["val"] * 2 + ["test"] * 2),
        ("disjoint", None),
    ):
        out = tmp_path / split
        prepared(tmp_path / "many", out, records=path, split=split, settings=settings)
        rows = read_manifest(out).rows.sort_values("patient_id", key=lambda c: c.astype(int))
        assert len(rows) == 20
        if expected:
            assert rows["split"].tolist() == expected
        else:
            assert set(rows["split"]) == {"train", "val", "test"}


def test_a_case_that_is_held_out_and_trained_on_is_held_out(tmp_path, raw):
    records = json.loads((raw / RECORDS_NAME).read_text())
    records["train"].append({**records["val"][0], "split": "train"})
    path = write_json(tmp_path, records)
    done = prepared(raw, tmp_path / "out", records=path)
    assert done.exit_status == 3
    assert "id 10 is held out too" in refused(tmp_path / "out")["train[5]"]
    rows = read_manifest(tmp_path / "out").rows
    assert rows["split"][rows["volume_id"] == "10"].tolist() == ["test"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"report": None}, "report is null"),
        ({"report": " Not given. "}, "report is empty"),
        ({"report": ["a"]}, "report is"),
        ({"id": 7}, "id is '7', which is no text"),
        ({"id": "7/../8.nii.gz"}, "expected letters and digits"),
        ({"id": "8.nii.gz"}, "whose image is it?"),
        ({"image_path": "../v/7.nii.gz"}, "leads out of the data set's folder"),
        ({"image_path": "/v/7.nii.gz"}, "leads out of the data set's folder"),
        ({"image_path": "C:\\v\\7.nii.gz"}, "leads out of the data set's folder"),
        ({"image_path": "v\\..\\..\\7.nii.gz"}, "leads out of the data set's folder"),
        ({"image_path": ""}, "leads out of the data set's folder"),
        ({"result": 3}, "result is '3'"),
    ],
)
def test_a_record_that_cannot_be_used_is_named_with_its_reason(change, reason, tmp_path):
    path = write_json(tmp_path, {"train": [record(1), {**record(7), **change}], "val": []})
    records, refusals = read_records(path)
    assert [r.case for r in records] == ["1"]
    (refusal,) = refusals
    assert refusal.file == f"{RECORDS_NAME}:train[1]"
    assert reason in refusal.reason


def test_missing_keys_and_no_records_are_named(tmp_path):
    lacking = {key: value for key, value in record(7).items() if key != "report"}
    path = write_json(tmp_path, {"train": [record(1), lacking, "text"], "val": []})
    assert [r.reason for r in read_records(path)[1]] == [
        "no report in the record", "a str, expected a record",
    ]  # fmt: skip
    records, refused = read_records(write_json(tmp_path, {"train": [lacking]}))
    assert (records, len(refused)) == ([], 1)
    with pytest.raises(TableError, match="no record in it"):
        read_records(write_json(tmp_path, {"train": []}))
    for content in ({}, {"training": []}, 3, {"train": {}}, {"train": [record(1)], "val": 2}):
        with pytest.raises(TableError, match=r"expected|is no list"):
            read_records(write_json(tmp_path, content))


def test_backslashes_and_an_empty_impression_are_understood(tmp_path):
    path = write_json(tmp_path, [{"image_path": ".\\v\\7", "report": "A.", "result": "Not given."}])
    ((found,), refusals) = read_records(path)
    assert (str(found.image), found.case, found.impression, refusals) == ("v/7", "7", "", [])


def test_a_damaged_record_file_is_refused_or_gives_what_it_says(tmp_path):
    chance, path = random.Random(5), tmp_path / "records.json"
    good = {"train": [record(1), record(2, report="Göğüs ×.")], "val": [record(3, result=None)]}
    taken = turned_away = 0
    for _ in range(300):
        path.write_bytes(mutate(json.dumps(good, ensure_ascii=False).encode(), chance))
        try:
            records, _ = read_records(path)
        except TableError:
            turned_away += 1
            continue
        taken += 1
        content = json.loads(path.read_bytes().decode("utf-8-sig"))
        for found in records:
            entry = content[found.split][int(found.place.split("[")[1][:-1])]
            assert found.findings == entry["report"]
            assert found.impression == (entry["result"] or "")
            assert found.case == entry["id"].removesuffix(".gz").removesuffix(".nii")
            assert ".." not in found.image.parts
            assert not found.image.is_absolute()
    assert min(taken, turned_away) > 20


def test_a_label_code_that_is_none_is_named(tmp_path):
    path = tmp_path / LABELS_NAME
    header = ",".join(("id", *LABELS))
    for value in ("4", "-1", "", "1.5", "x"):
        path.write_text(f"{header}\n910,{value},{','.join('0' * 13)}\n")
        with pytest.raises(TableError, match="line 2, column enlarged_cardiomediastinum"):
            read_codes(path)
    path.write_text(f"{header}\n910,{','.join('0' * 14)}\n910.nii.gz,{','.join('1' * 14)}\n")
    with pytest.raises(TableError, match="line 3: id '910' has another row"):
        read_codes(path)


def test_hu_are_not_taken_for_8_bits(raw, tmp_path):
    done = prepared(raw, tmp_path, settings=PrepareSettings(grid=Grid((4, 4, 4))))
    assert done.taken == 0
    assert all("8-bit range" in refusal.reason for refusal in done.refused)


def test_exit_status_of_the_command(raw, tmp_path, capsys):
    call = ["--source", str(raw), "--output", str(tmp_path), "--workers", "0"]
    assert main(call) == 0
    assert read_manifest(tmp_path).facts["settings"]["grid"] == {
        "shape": [48, 32, 48], "spacing_mm": None, "crop": [1.0, 1.0, 1.0],
    }  # fmt: skip
    assert main([*call, "--source", str(tmp_path / "absent")]) == 2
    assert "is missing; give the folder of CTRG-Chest" in capsys.readouterr().err
    (tmp_path / "two").mkdir()
    for name in ("a.json", "b.json"):
        write_json(tmp_path / "two", [], name)
    assert main([*call, "--source", str(tmp_path / "two")]) == 2
    assert "there are a.json, b.json; say which with --records" in capsys.readouterr().err
    lost = write_json(tmp_path, {"train": [record(1)], "val": []}, "lost.json")
    assert main([*call, "--records", str(lost)]) == 2
    assert "nothing to prepare" in capsys.readouterr().err


def test_the_miniature_of_the_real_set(shared_data, tmp_path):
    source = shared_data / "layouts" / "ctrg"
    labels = shared_data / "reports" / "ctrg_chest" / LABELS_NAME
    real = {r["id"].split(".")[0]: r for r in records_of_ctrg(shared_data)}
    for name, cases in (("ctrg_mini", ["910", "1357", "208"]), ("chest_ctrg_jpg", ["910"])):
        out = tmp_path / name
        done = prepared(source, out, records=source / f"{name}.json", labels=labels,
                        settings=None)  # fmt: skip
        assert done.exit_status == 0
        rows = read_manifest(out).rows.set_index("volume_id")
        assert list(rows.index) == cases
        for case in cases:
            assert rows.loc[case, "findings"] == real[case]["report"]
            voxels = read_array(out / rows.loc[case, "volume"], "volume")
            assert voxels.shape == (48, 32, 48)
            assert 20 < voxels.mean() < 200


def test_the_real_record_file_is_read_whole(shared_data):
    path = shared_data / "reports" / "ctrg_chest" / RECORDS_NAME
    records, refusals = read_records(path)
    assert refusals == []
    val, test = ({r.case for r in records if r.split == split} for split in ("val", "test"))
    assert val == test
    assert len(records) == len(json.loads(path.read_text())["train"]) + 2 * len(val)
    codes = read_codes(path.with_name(LABELS_NAME))
    assert {r.case for r in records} <= codes.keys()
    assert not any(code[LABELS.index("pneumonia")] for code in codes.values())
