"""Row 28: CTRG as JSON Lines, and records that name their split."""

import json

import pytest

from data_prep import ctrg_chest
from data_prep.ctrg_records import read_records
from data_prep.json_table import read_json
from data_prep.phantom.layouts.ctrg import write_ctrg_chest_jpg
from data_prep.tables import TableError
from mg3d.data.manifest import read_manifest
from mg3d.preparation.prepare import PrepareSettings, RunOptions
from mg3d.volumes.grid import Grid
from mg3d.volumes.intensity import EightBit

PICTURES = RunOptions(
    settings=PrepareSettings(grid=Grid((4, 4, 4)), intensity=EightBit()), workers=0
)


def table(tmp_path, text, name="table.csv"):
    path = tmp_path / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def lines_of(records):
    return "".join(json.dumps(record) + "\n" for record in records)


def test_row_28_json_lines_are_the_list_of_their_records(tmp_path):
    write_ctrg_chest_jpg(tmp_path / "raw", 3, 0)
    path = next((tmp_path / "raw").glob("*.json"))
    records = json.loads(path.read_text())
    done = ctrg_chest.prepare_ctrg_chest(tmp_path / "raw", tmp_path / "list", PICTURES)
    path.write_text(lines_of(records))
    for name in (path.name, "records.jsonl"):
        path = path.rename(path.with_name(name))
        again = ctrg_chest.prepare_ctrg_chest(tmp_path / "raw", tmp_path / name, PICTURES)
        rows, other = (read_manifest(d.folder).rows for d in (done, again))
        for column in ("volume_id", "findings", "impression", "split"):
            assert rows[column].tolist() == other[column].tolist()


@pytest.mark.parametrize("form", ["list", "lines", "one line"])
def test_row_28_a_split_that_the_records_name_is_taken(form, tmp_path):
    entry = {"report": "Heart is normal.", "result": ""}
    records = [
        {**entry, "image_path": f"v/{number}", "split": split}
        for number, split in enumerate(("train", "val", "valid", "test", "TRAIN", "validation"))
    ]
    if form == "one line":
        records = records[1:2]
    text = json.dumps(records) if form == "list" else lines_of(records)
    found, refusals = read_records(table(tmp_path, text, "r.json"))
    expected = ["train", "val", "val", "test", "train", "val"]
    assert [r.split for r in found] == (expected[1:2] if form == "one line" else expected)
    assert refusals == []


def test_row_28_records_with_their_own_val_and_test_keep_them(tmp_path):
    write_ctrg_chest_jpg(tmp_path / "raw", 4, 0)
    path = next((tmp_path / "raw").glob("*.json"))
    splits = ("val", "train", "test", "train")
    records = [
        record | {"split": split}
        for record, split in zip(json.loads(path.read_text()), splits, strict=True)
    ]
    path.write_text(lines_of(records))
    for choice in ("disjoint", "released"):
        out = tmp_path / choice
        ctrg_chest.prepare_ctrg_chest(tmp_path / "raw", out, PICTURES, split=choice)
        rows = read_manifest(out).rows
        assert dict(zip(rows["volume_id"], rows["split"], strict=True)) == {
            str(10 * number): split for number, split in enumerate(splits)
        }


def test_row_28_a_split_that_is_none_or_missing_is_refused_by_place(tmp_path):
    entry = {"report": "Heart is normal.", "result": ""}
    records = [
        {**entry, "image_path": "v/1", "split": "train"},
        {**entry, "image_path": "v/2"},
        {**entry, "image_path": "v/3", "split": "holdout"},
        {**entry, "image_path": "v/4", "split": 3},
    ]
    found, refusals = read_records(table(tmp_path, lines_of(records), "r.jsonl"))
    assert [record.case for record in found] == ["1"]
    reasons = {refusal.file: refusal.reason for refusal in refusals}
    assert reasons["r.jsonl:[1]"] == "no split in the record, though others name theirs; add it"
    assert reasons["r.jsonl:[2]"] == "split is 'holdout', expected train, val, test"
    assert reasons["r.jsonl:[3]"] == "split is '3', expected train, val, test"


def test_row_28_a_damaged_line_is_named(tmp_path):
    path = table(tmp_path, '{"a": 1}\n{"a": 2\n', "r.jsonl")
    with pytest.raises(TableError, match=r"r\.jsonl, line 2, column"):
        read_json(path, lines=True)
    with pytest.raises(TableError, match=r"line 2: key 'a' is there twice"):
        read_json(table(tmp_path, '{"a": 1}\n{"a": 2, "a": 3}\n'), lines=True)
    with pytest.raises(TableError, match=r"line 2, column 1: Extra data"):
        read_json(table(tmp_path, '{"a": 1}\n{"a": 2}\n'))  # only where lines may be
