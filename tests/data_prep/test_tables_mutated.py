"""Damaged tables by the thousand: refused, or read as a plain parser of the format reads them."""

import csv
import io
import json
import random

import pytest
from mutated import mutate

from data_prep.tables import TableError, read_json, read_label, read_number, read_table

CSV_MUTANTS, JSON_MUTANTS = 700, 400
HEADER = ["VolumeName", "Findings_EN", "Label"]
ROWS = [
    ["train_1_a_1.nii.gz", "Heart is normal.", "0"],
    ["train_2_a_1.nii.gz", 'A "node", of 5 mm.\nGöğüs 8×9.', "1"],
    ["train_3_a_1.nii.gz", "", "1.0"],
    ["train_4_a_2.nii.gz", "• Cyst; stone,\r\n• none", ""],
]
RECORDS = {
    "train": [{"id": "1.nii.gz", "report": 'Heart "is" ×.', "result": None, "n": [1, -2.5e3]}],
    "val": [{"id": 2, "report": "", "ok": True}],
}


def text_of(content):
    """The text, if the bytes are in an encoding that is read; else None."""
    utf16 = content[:2] in (b"\xff\xfe", b"\xfe\xff")
    try:
        return content.decode("utf-16" if utf16 else "utf-8-sig")
    except UnicodeDecodeError:
        return None


def plain_csv(text):
    """RFC 4180, letter by letter; None where a quoted field is followed by something, or open."""
    rows, row, field, state = [], [], "", "start"
    place = 0
    while place < len(text):
        c = text[place]
        two = text[place : place + 2]
        if state == "quoted":
            if two == '""':
                field, place = field + '"', place + 1
            elif c == '"':
                state = "closed"
            else:
                field += c
        elif c == '"' and state == "start":
            state = "quoted"
        elif c == ",":
            row, field, state = [*row, field], "", "start"
        elif c in "\r\n":
            place += two == "\r\n"
            rows.append([*row, field] if row or field or state == "closed" else [])
            row, field, state = [], "", "start"
        elif state == "closed":
            return None
        else:
            field, state = field + c, "plain"
        place += 1
    if state == "quoted":
        return None
    if row or field or state != "start":
        rows.append([*row, field])
    return rows


def table_bytes(chance):
    table = io.StringIO(newline="")
    style = {"lineterminator": chance.choice(("\n", "\r\n"))}
    style["quoting"] = chance.choice((csv.QUOTE_MINIMAL, csv.QUOTE_ALL))
    csv.writer(table, **style).writerows([HEADER, *ROWS])
    return table.getvalue().encode(chance.choice(("utf-8", "utf-8-sig", "utf-16")))


def test_the_plain_parser_reads_what_the_csv_module_writes():
    for seed in range(20):
        assert plain_csv(text_of(table_bytes(random.Random(seed)))) == [HEADER, *ROWS]


def test_a_damaged_csv_table_is_refused_or_read_as_it_stands(tmp_path):
    path, chance = tmp_path / "table.csv", random.Random(20)
    taken, reasons = 0, []
    for _ in range(CSV_MUTANTS):
        content = mutate(table_bytes(chance), chance)
        path.write_bytes(content)
        try:
            rows = read_table(path, ("VolumeName", "Findings_EN"))
        except TableError as error:
            reasons.append(str(error))
            continue
        taken += 1
        header, *expected = plain_csv(text_of(content))
        expected = [row for row in expected if "".join(row).strip()]
        named = [
            n
            for n, name in enumerate(header)
            if name.strip() or any(row[n].strip() for row in expected)
        ]
        header, *expected = ([row[n] for n in named] for row in (header, *expected))
        assert [list(row.values) for row in rows] == [header] * len(expected), content
        assert [list(row.values.values()) for row in rows] == expected, content
        assert all("\0" not in field for row in expected for field in row)
    assert min(taken, len(reasons)) > CSV_MUTANTS / 10  # both happen
    assert all(str(path) in reason for reason in reasons)


def test_a_damaged_label_is_refused_or_worth_what_it_says():
    chance, kept = random.Random(21), 0
    for _ in range(2000):
        text = mutate(chance.choice((b"0", b"1", b"0.0", b"1.0", b"-1024")), chance).decode(
            "latin-1"
        )
        try:
            number = read_number(text)
        except ValueError:
            continue
        kept += 1
        if number is None:
            assert not text.strip()
            continue
        assert set(text.strip()) <= set("0123456789.eE+-")
        assert number == float(text)
        try:
            assert read_label(text) == number
            assert number in (0, 1)
        except ValueError:
            assert number not in (0, 1)
    assert kept > 200


@pytest.mark.parametrize("ascii_only", [True, False])
def test_a_damaged_json_table_is_refused_or_read_as_it_stands(ascii_only, tmp_path):
    path, chance = tmp_path / "table.json", random.Random(22)
    taken, reasons = 0, []
    for _ in range(JSON_MUTANTS // 2):
        content = mutate(json.dumps(RECORDS, ensure_ascii=ascii_only).encode(), chance)
        path.write_bytes(content)
        try:
            found = read_json(path)
        except TableError as error:
            reasons.append(str(error))
            continue
        taken += 1
        assert json.loads(text_of(content)) == found, content
    assert min(taken, len(reasons)) > JSON_MUTANTS / 50
    assert all(str(path) in reason for reason in reasons)


def test_json_that_no_table_holds_is_refused(tmp_path):
    path = tmp_path / "table.json"
    for text, reason in (
        ("", "empty file"),
        ('{"a": NaN}', "NaN is no JSON value"),
        ('{"a": 1, "a": 2}', "key 'a' is there twice"),
        ('{"a": [1, 2', r"line 1, column 12: .*cut off"),
        ("[" * 100_000, "nested too deeply|Expecting value"),
        ("9" * 10_000, "too long"),
        ('{"a": "\0"}', "NUL byte"),
        ("<html>", "line 1, column 1"),
    ):
        path.write_text(text)
        with pytest.raises(TableError, match=reason):
            read_json(path)
    with pytest.raises(FileNotFoundError, match=r"absent\.json is missing"):
        read_json(tmp_path / "absent.json")
