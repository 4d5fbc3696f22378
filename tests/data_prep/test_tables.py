import re

import pytest

from data_prep.ct_rate_tables import METADATA_COLUMNS, REPORT_COLUMNS, parse_spacing
from data_prep.tables import TableError, read_label, read_numbers, read_table, show

REFUSED = {
    "nonascii_cp1254.csv": "not UTF-8, byte .* at offset",
    "missing_column.csv": "column Findings_EN not found; it has VolumeName",
    "semicolon.csv": "column VolumeName.* not found.*is its separator ;",
    "ragged.csv": r"expected 5 fields a row, but line 4: 7 fields; line 6: 2 fields",
    "unclosed_quote.csv": "unexpected end of data .*cut off inside a quoted field",
    "zero_byte.csv": "empty file",
    "header_only.csv": "no rows",
    "nul_bytes.csv": "NUL byte",
}
SAME = ("ok_bom_crlf", "ok_quote_all", "ok_columns_reordered", "ok_quotes_newlines")


def words(rows):
    return [[" ".join(row[column].split()) for column in REPORT_COLUMNS] for row in rows]


@pytest.fixture
def reports(shared_data):
    return shared_data / "broken" / "reports"


@pytest.mark.parametrize(("name", "reason"), REFUSED.items())
def test_a_broken_report_table_is_refused_by_name_and_reason(name, reason, reports):
    with pytest.raises(TableError, match=reason) as error:
        read_table(reports / name, REPORT_COLUMNS)
    assert name in str(error.value)


@pytest.mark.parametrize("name", SAME)
def test_an_unusual_good_table_has_the_same_rows(name, reports):
    rows = read_table(reports / f"{name}.csv", REPORT_COLUMNS)
    reference = read_table(reports / "ok_reports.csv", REPORT_COLUMNS)
    assert len(rows) == 8
    assert [row["VolumeName"] for row in rows] == [row["VolumeName"] for row in reference]
    if name != "ok_quotes_newlines":  # has other signs in its texts
        assert words(rows) == words(reference)


@pytest.mark.parametrize("name", ["ok_nonascii_utf8.csv", "nonascii_utf16.csv"])
def test_letters_of_any_script_are_kept(name, reports):
    text = " ".join(row["Findings_EN"] for row in read_table(reports / name, REPORT_COLUMNS))
    assert "ğ" in text
    assert "\ufffd" not in text


def test_very_long_fields_are_read_in_no_time(reports):
    assert len(read_table(reports / "very_long.csv", REPORT_COLUMNS)) >= 5


def test_spacing_of_every_form_in_the_real_table(shared_data):
    path = shared_data / "broken" / "metadata" / "spacing_and_rescale_variants.csv"
    rows = read_table(path, METADATA_COLUMNS)
    same = (0.7, 0.7, 1.5)
    expected = [*[same] * 4, None, None, (0.8, 0.7, 1.5), None, None, same, same, None]
    for row, spacing in zip(rows, expected, strict=True):
        if spacing is None:
            with pytest.raises(ValueError, match=re.escape(f"XYSpacing '{row['XYSpacing']}'")):
                parse_spacing(row["XYSpacing"], row["ZSpacing"])
        else:
            assert parse_spacing(row["XYSpacing"], row["ZSpacing"]) == spacing


# The same faults, made here.


def write(folder, text, encoding="utf-8"):
    path = folder / "table.csv"
    path.write_bytes(text.encode(encoding))
    return path


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", r"table\.csv: empty file"),
        ("A,B\n", "no rows, only the header"),
        ("A,C\n1,2\n", "column B not found; it has A, C"),
        ("A;B\n1;2\n", "is its separator ;"),
        ("A,B\n1,2\n1,2,3\n1\n1,2\n", "expected 2 fields a row, but line 3: 3 fields; line 4: 1"),
        ('A,B\n1,"2\n', r"near line 2: .*cut off inside a quoted field"),
        ("A,B\n1,\0\n", "line 2: NUL byte"),
        ("A,B,A\n1,2,3\n", "'A' is the name of several columns"),
    ],
)
def test_a_fault_is_named_with_its_line(text, reason, tmp_path):
    with pytest.raises(TableError, match=reason):
        read_table(write(tmp_path, text), ("A", "B"))


def test_a_table_that_is_not_utf8_is_refused_with_the_place(tmp_path):
    path = write(tmp_path, "A,B\n1,göğüs\n", "cp1254")
    with pytest.raises(TableError, match="byte 0xf6 at offset 7; save it as UTF-8"):
        read_table(path, ("A", "B"))


def test_lines_are_those_of_the_file_also_after_a_field_of_several_lines(tmp_path):
    rows = read_table(write(tmp_path, '\ufeffA,B\r\n1,"x\r\ny, ""z"""\r\n\r\n2,w\r\n'), ("A", "B"))
    assert [(row.line, row["A"]) for row in rows] == [(2, "1"), (5, "2")]
    assert rows[0]["B"] == 'x\r\ny, "z"'


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_table_with_a_byte_order_mark_is_read_by_it(encoding, tmp_path):
    (row,) = read_table(write(tmp_path, "A,B\n×,göğüs 胸部\n", encoding), ("A", "B"))
    assert row.values == {"A": "×", "B": "göğüs 胸部"}


def test_no_message_shows_more_than_a_few_words_of_a_field_or_a_date(tmp_path):
    report = "Compared with the CT of 26.03.2018, the nodule in the left lung has grown to 9 mm."
    for text in (f'train_1,"{report}"\n', f"A;B\n1;{report}\n", f"{report},x,{report},y\nz\n"):
        with pytest.raises(TableError) as error:
            read_table(write(tmp_path, text), ("A", "B"))
        assert "nodule" not in str(error.value)
        assert "2018" not in str(error.value)
    assert show(report) == "(a text of 17 words)"
    assert show("CT of 26.03.2018") == "'CT of [date]'"
    assert show("x" * 70) == "(a text of 1 words)"
    assert show("Coronary artery wall calcification") == "'Coronary artery wall calcification'"


def test_a_missing_table_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"table\.csv is missing"):
        read_table(tmp_path / "table.csv", ("A",))


def test_numbers_are_found_by_their_pattern_and_never_run():
    assert read_numbers("[0.7, 0.8]") == [0.7, 0.8]
    assert read_numbers("['.5',\"-1e-1\"]") == [0.5, -0.1]
    assert read_numbers("__import__('os').system('true')") == []


def test_labels_are_0_1_or_unknown():
    assert [read_label(text) for text in ("0", "1.0", "", " ")] == [0, 1, None, None]
    for text in ("2", "-1", "yes", "0.5", "nan", "inf", "1e999", "0_1", "１", "0x1"):
        with pytest.raises(ValueError, match=r"neither 0 nor 1|is no number"):
            read_label(text)


@pytest.mark.parametrize(
    ("xy", "z"),
    [("", "1"), ("[0, 0]", "1"), ("[0.7, 0.7]", ""), ("[0.7, 0.7]", "-1"), ("[700, 700]", "1")],
)
def test_no_spacing_is_refused(xy, z):
    with pytest.raises(ValueError, match="correct the row"):
        parse_spacing(xy, z)
