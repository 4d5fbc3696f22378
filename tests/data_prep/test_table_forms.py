"""Rows 18, 18c and 18d: what spreadsheets make of a table changes nothing, or is named."""

import csv
import gzip
import io
import json
import random
import zipfile

import pytest
from ct_rate_tree import Tree

from data_prep import ct_rate, ctrg_chest, luna16
from data_prep.cc_ccii_folds import FOLD_TABLE, read_fold
from data_prep.ctrg_chest import LABELS, LABELS_NAME, read_codes
from data_prep.folds import read_fold_list
from data_prep.json_table import read_json
from data_prep.phantom.layouts.ctrg import write_ctrg_chest
from data_prep.tables import TableError, read_table
from mg3d.data.manifest import read_manifest
from mg3d.preparation.prepare import PrepareSettings, RunOptions
from mg3d.volumes.grid import Grid
from mg3d.volumes.intensity import EightBit

SMALL = RunOptions(settings=PrepareSettings(grid=Grid((4, 4, 4))), workers=0)
PICTURES = RunOptions(
    settings=PrepareSettings(grid=Grid((4, 4, 4)), intensity=EightBit()), workers=0
)
HEADER, ROW = "VolumeName,Findings_EN", "train_1_a_1.nii.gz,Heart is normal."


def table(tmp_path, text, name="table.csv"):
    path = tmp_path / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


@pytest.mark.parametrize(
    "text",
    [
        f"{HEADER},,\n{ROW},,\n",
        f"{HEADER},,\n{ROW},,\n,,,\n,,,\n",
        f"{HEADER}, ,\n{ROW},,\n",
        f",{HEADER},,\n,{ROW},,\n",
        f"{HEADER}\n{ROW}\n\n,\n",
        "VolumeName,,Findings_EN\ntrain_1_a_1.nii.gz,,Heart is normal.\n",
        '"VolumeName","Findings_EN","",""\n"train_1_a_1.nii.gz","Heart is normal.","",""\n',
    ],
)
def test_row_18_columns_and_rows_that_hold_nothing_are_not_there(text, tmp_path):
    (row,) = read_table(table(tmp_path, text), ("VolumeName", "Findings_EN"))
    assert row.values == {"VolumeName": "train_1_a_1.nii.gz", "Findings_EN": "Heart is normal."}


def test_row_18_a_nameless_column_with_content_is_not_dropped(tmp_path):
    (row,) = read_table(table(tmp_path, f",{HEADER}\n0,{ROW}\n"), ())
    assert row.values[""] == "0"
    with pytest.raises(TableError, match=r"nothing is the name of several columns \(3, 4\)"):
        read_table(table(tmp_path, f"{HEADER},,\n{ROW},x,y\n"), ())
    with pytest.raises(TableError, match="expected 2 fields a row, but line 2: 3 fields"):
        read_table(table(tmp_path, f"{HEADER}\n{ROW},\n"), ())  # shifted: a field too many


def test_row_18_a_report_table_saved_by_a_spreadsheet_gives_its_reports(tmp_path):
    tree = Tree(tmp_path / "raw")
    tree.full("train_1_a_1")
    path = tree.root / "radiology_text_reports/train_reports.csv"
    lines = path.read_text().splitlines()
    path.write_text("".join(f"{line},,\n" for line in [*lines, ",,,,"]))
    done = ct_rate.prepare_ct_rate(tree.root, tmp_path / "out", SMALL)
    assert (done.taken, done.refused) == (1, ())
    assert read_manifest(tmp_path / "out").rows["findings"].tolist() == ["Heart is normal."]


@pytest.mark.parametrize(
    "again",
    [
        ("train_1_a_1", "Heart is normal."),
        ("train_1_a_1.nii.gz ", "Heart is normal. "),
        ("train_1_a_1.nii", "Heart is\r\nnormal."),
        ("train_1_a_1.nii.gz", "Heart is\nnormal."),
    ],
)
def test_row_18c_the_same_row_twice_counts_once(again, tmp_path):
    tree = Tree(tmp_path / "raw")
    tree.volume("train_1_a_1")
    tree.report("train_1_a_1.nii.gz")
    tree.report(*again)
    done = ct_rate.prepare_ct_rate(tree.root, tmp_path / "out", SMALL)
    assert (done.taken, done.refused) == (1, ())
    manifest = read_manifest(tmp_path / "out")
    assert manifest.facts["repeated_rows"] == 1
    assert manifest.rows["findings"].tolist() == ["Heart is normal."]


def test_row_18c_two_rows_that_say_something_else_are_still_refused(tmp_path):
    tree = Tree(tmp_path / "raw")
    tree.volume("train_1_a_1")
    tree.report("train_1_a_1.nii.gz")
    tree.report("train_1_a_1", "Heart isnormal.")
    done = ct_rate.prepare_ct_rate(tree.root, tmp_path / "out", SMALL)
    assert "two different rows" in done.refused[0].reason


def test_row_18c_the_same_row_twice_counts_once_in_every_table(tmp_path):
    line = "CP-1.zip,1,CP,7,70,9,1,[70]"
    header = "zip_file,target,label,patient_id,scan_id,n_slice,scan_count,all_scan_ids"
    table(tmp_path, f"{header}\n{line}\n{line}\n", FOLD_TABLE.format(0, "train"))
    table(tmp_path, f"{header}\nNCP-1.zip,2,NCP,8,80,9,1,[80]\n", FOLD_TABLE.format(0, "valid"))
    assert {k: v.slices for k, v in read_fold(tmp_path, 0).items()} == {
        ("7", "70"): 9, ("8", "80"): 9,
    }  # fmt: skip
    entry = {"fold": 1, "image": "a.nii.gz", "label": ""}
    path = table(tmp_path, json.dumps({"training": [entry, entry]}), "folds.json")
    assert read_fold_list(path) == {"a.nii.gz": "1"}
    with pytest.raises(TableError, match=r"a\.nii\.gz is there twice, in different folds"):
        read_fold_list(
            table(tmp_path, json.dumps({"training": [entry, entry | {"fold": 2}]}), "f.json")
        )
    codes = ",".join("1" * len(LABELS))
    columns = ",".join(("id", *LABELS))
    path = table(tmp_path, f"{columns}\n7,{codes}\n7.nii.gz,{codes}\n", LABELS_NAME)
    assert read_codes(path) == {"7": (1,) * len(LABELS)}


def test_row_18c_the_same_record_twice_counts_once(tmp_path):
    write_ctrg_chest(tmp_path / "raw", 2, 0)
    path = next((tmp_path / "raw").glob("*.json"))
    lists = json.loads(path.read_text())
    first = lists["train"][0]
    lists["train"].append(first | {"report": first["report"].replace(" ", "\r\n ", 1) + " "})
    path.write_text(json.dumps(lists))
    done = ctrg_chest.prepare_ctrg_chest(tmp_path / "raw", tmp_path / "out", PICTURES)
    assert (done.taken, done.refused) == (2, ())
    assert [r.reason for r in done.left_out if "same record" in r.reason] == [
        "the same record as train[0]"
    ]


def workbook():
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as file:
        file.writestr("xl/workbook.xml", "<workbook/>")
    return packed.getvalue()


KINDS = {
    "Excel workbook .*save it as CSV": workbook(),
    r"Excel workbook \(\.xls\)": b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(64),
    "packed with gzip; unpack it": gzip.compress(f"{HEADER}\n{ROW}\n".encode()),
    "packed with bzip2": b"BZh91AY&SY" + bytes(20),
    "packed with xz": b"\xfd7zXZ\0\0\4" + bytes(20),
    "packed with zstd": b"(\xb5/\xfd" + bytes(20),
    "a Parquet table": b"PAR1" + bytes(20),
    "a web page.*Log in": b"\n<!DOCTYPE html><html><body>Sign in</body></html>",
    "a Git LFS pointer.*git lfs pull": b"version https://git-lfs.github.com/spec/v1\noid 0\n",
    "a PDF document": b"%PDF-1.7\n",
}


@pytest.mark.parametrize("kind", KINDS)
def test_row_18d_a_file_of_another_kind_is_told_by_its_name(kind, tmp_path):
    for reader in (lambda path: read_table(path, ("VolumeName",)), read_json):
        with pytest.raises(TableError, match=kind) as error:
            reader(table(tmp_path, KINDS[kind]))
        assert "0x" not in str(error.value)


def plain(rows):
    """A table of the same rows, written by the csv module."""
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def changed(rows, chance):
    """A table that says the same, in another form; or None and bytes that are no table."""
    rows = [list(row) for row in rows]
    for _ in range(chance.randint(1, 3)):
        kind = chance.randrange(8)
        if kind == 0:  # columns without name or content, at the end or in the middle
            place = chance.choice((len(rows[0]), chance.randrange(len(rows[0]) + 1)))
            blank = chance.choice(("", " "))
            rows = [[*row[:place], blank, *row[place:]] for row in rows]
        elif kind == 1:  # rows without content
            place = chance.randint(1, len(rows))
            rows.insert(place, [""] * len(rows[0]))
        elif kind == 2:  # columns in another order
            order = chance.sample(range(len(rows[0])), len(rows[0]))
            rows = [[row[n] for n in order] for row in rows]
        elif kind == 3:  # a row again
            place = chance.randrange(1, len(rows))
            rows.append(list(rows[place]))
        elif kind == 4:  # blanks at the ends of names
            place = chance.randrange(1, len(rows))
            rows[place] = [f"{field} " if field else field for field in rows[place]]
        elif kind == 5:  # a name without its ending, or with another
            place = chance.randrange(1, len(rows))
            rows[place] = [
                field.replace(".nii.gz", chance.choice(("", ".nii"))) for field in rows[place]
            ]
        elif kind == 6:  # line breaks inside a text
            place = chance.randrange(1, len(rows))
            rows[place] = [
                field.replace(" ", chance.choice(("\r\n", "\n")), 1) if " " in field else field
                for field in rows[place]
            ]
    text = plain(rows)
    if chance.random() < 0.3:
        text = text.replace("\n", "\r\n").replace("\r\r\n", "\r\n")
    return text.encode(chance.choice(("utf-8", "utf-8-sig", "utf-16")))


def test_table_forms_by_the_hundred_give_the_same_reports_labels_and_metadata(tmp_path):
    """500 tables that say the same in another form: every one is read as that."""
    from data_prep.ct_rate_tables import REPORT_COLUMNS, read_split_tables, reason_to_refuse

    names = [f"train_{n}_a_1" for n in range(1, 6)]
    texts = ["Heart is normal. No effusion.", 'A "node", of 5 mm.', "Göğüs 8 × 9.", "x", "• Cyst"]
    rows = [("VolumeName", "Findings_EN", "Impressions_EN")]
    rows += [(f"{n}.nii.gz", t, "Not given.") for n, t in zip(names, texts, strict=True)]
    assert set(rows[0]) == set(REPORT_COLUMNS)
    path = tmp_path / "radiology_text_reports/train_reports.csv"
    path.parent.mkdir()
    chance = random.Random(18)
    for _ in range(500):
        path.write_bytes(changed(rows, chance))
        refusals = []
        tables = read_split_tables(tmp_path, "train", refusals)
        assert (refusals, tables.unusable) == ([], {}), path.read_bytes()
        found = [tables.reports[name]["Findings_EN"].split() for name in names]
        assert found == [text.split() for text in texts], path.read_bytes()
        assert all(reason_to_refuse(name, tables) == ("", False) for name in names)


def test_folds_of_luna16_do_not_depend_on_empty_columns_of_its_tables(tmp_path):
    text = "seriesuid,coordX,coordY,coordZ,class,,\nabc,1,2,3,1,,\n"
    rows = read_table(table(tmp_path, text), (*luna16.POINT_COLUMNS, "class"))
    assert rows[0].values == {
        "seriesuid": "abc", "coordX": "1", "coordY": "2", "coordZ": "3", "class": "1",
    }  # fmt: skip
