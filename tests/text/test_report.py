import csv
import json
import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from real_reports import real_texts

from mg3d.text.report import clean_text, report_sentences, split_sentences


@pytest.mark.parametrize(
    "text, sentences",
    [
        ("Heart is big. Lungs are clear.", ["Heart is big.", "Lungs are clear."]),
        ("A nodule of 1.5 cm. No mass.", ["A nodule of 1.5 cm.", "No mass."]),
        ("CT of 02.02.2018. No mass.", ["CT of 02.02.2018.", "No mass."]),
        ("Left effusion.heart size is normal.", ["Left effusion.", "heart size is normal."]),
        ("Node of 5 mm.No mass.", ["Node of 5 mm.", "No mass."]),
        ("Cysts, e.g. in the liver, approx. 5 mm.", ["Cysts, e.g. in the liver, approx. 5 mm."]),
        ("Dr. Who, image no. 3. The end", ["Dr. Who, image no. 3.", "The end"]),
        ("Is there a node? No. ", ["Is there a node?", "No."]),
        (
            "Given i.v. contrast. Lung ca. No node.",
            ["Given i.v. contrast.", "Lung ca.", "No node."],
        ),
        ("Stable (cyst? or fat). Next", ["Stable (cyst? or fat).", "Next"]),
        ("Wait... And then.", ["Wait...", "And then."]),
        ("In segment 6. Both kidneys", ["In segment 6.", "Both kidneys"]),
        ('" One node. " Two nodes " Three ', ["One node.", "Two nodes", "Three"]),
        ('In both lungs." Small node."  Hernia', ["In both lungs.", "Small node.", "Hernia"]),
        ('The "tree in bud" sign.', ["The tree in bud sign."]),
        ("“One node” is seen.", ["One node is seen."]),
        ("1. Node.\n2. Effusion.\n3) No mass", ["Node.", "Effusion.", "No mass"]),
        ("1. Node. 2. Effusion.", ["Node.", "Effusion."]),
        ("• Node • Effusion", ["Node", "Effusion"]),
        ("- a node\n- an effusion", ["a node", "an effusion"]),
        ("Broken in\nthe middle. Next", ["Broken in the middle.", "Next"]),
        ("No full stop\r\n\r\nNext", ["No full stop", "Next"]),
        ("Tab\tand\u00a0blank, zero\u200bwidth\ufeff.", ["Tab and blank, zero width."]),
        ("Size 8×9 mm。Next。", ["Size 8x9 mm.", "Next."]),
        ("No\x00de.", ["Node."]),
        (". . - . \" ''", []),
        (
            "About 0.8 x1.0cm, grown from .5 cm. Stable.",
            ["About 0.8 x1.0cm, grown from .5 cm.", "Stable."],
        ),
        (
            "Loss of height in T12. vertebra. Else normal.",
            ["Loss of height in T12. vertebra.", "Else normal."],
        ),
        ("Fracture of the 4. and 8. rib. Healed.", ["Fracture of the 4. and 8. rib.", "Healed."]),
        ("8. rib is broken.\n2. Effusion.", ["8. rib is broken.", "Effusion."]),
        ("Seen in segment 6. Another in 7.", ["Seen in segment 6.", "Another in 7."]),
        ("Up to 5 mm. It grows.", ["Up to 5 mm.", "It grows."]),
        (
            "A node (img90, of 4 mm. Hila are small. Heart (big) too.",
            ["A node (img90, of 4 mm.", "Hila are small.", "Heart (big) too."],
        ),
        ("A cyst (no proof. MRI is advised). End", ["A cyst (no proof. MRI is advised).", "End"]),
        (
            "Up to the edge ..... behind it, fluid. End",
            ["Up to the edge ..... behind it, fluid.", "End"],
        ),
        ("Old infarcts.. Left is free.", ["Old infarcts..", "Left is free."]),
        (
            "Clinic and lab. correlation. Clinic and lab. It is old.",
            ["Clinic and lab. correlation.", "Clinic and lab.", "It is old."],
        ),
        ("Lt. lung and rt. lung are clear.", ["Lt. lung and rt. lung are clear."]),
        (
            "Image no. 12, fig. 3, max. 1.7 x 1.2cm. End",
            ["Image no. 12, fig. 3, max. 1.7 x 1.2cm.", "End"],
        ),
        ("M. tuberculosis? E. coli? None.", ["M. tuberculosis?", "E. coli?", "None."]),
        ("CT of 11.05.2020: no contrast. End", ["CT of 11.05.2020: no contrast.", "End"]),
        ("Infection? edema? No.", ["Infection?", "edema?", "No."]),
        ("Sequelae (infection? edema?). No.", ["Sequelae (infection? edema?).", "No."]),
        ("In the lungs; clear: both, all.", ["In the lungs; clear: both, all."]),
        ('Normal. "2 cm node in the lung. " Stone', ["Normal.", "2 cm node in the lung.", "Stone"]),
        ("Review,” Consolidation in “old” areas", ["Review", "Consolidation in old areas"]),
        ("· Cyst · Stone. · Node", ["Cyst", "Stone.", "Node"]),
        ("* Cyst\n* Stone\n+ Node", ["Cyst", "Stone", "Node"]),
        ("(1) Cyst. (2) Stone.", ["(1) Cyst.", "(2) Stone."]),
        ("4 mm node in T1. End.", ["4 mm node in T1.", "End."]),
        ("At 37℃ 5‑6 mm…", ["At 37 degrees C 5-6 mm..."]),
        (
            "Rosenmüller’s fossa, göğüs; 胸部正常。右肺结节、小。",
            ["Rosenmüller's fossa, göğüs; 胸部正常.", "右肺结节, 小."],
        ),
        ("NO NODE.NO MASS.", ["NO NODE.", "NO MASS."]),
        ("Findings: 1. Node. 2. Cyst", ["Findings", "Node.", "Cyst"]),
        ("1. Node of rib 2. Effusion 2. Cyst", ["Node of rib 2.", "Effusion", "Cyst"]),
        ("Ribs 1.,2.,3. Effusion is seen", ["Ribs 1.,2.,3.", "Effusion is seen"]),
        (
            "Lesion (cyst?) is old. (Note: early.) End",
            ["Lesion (cyst?) is old.", "(Note: early.)", "End"],
        ),
        ("- 2 nodes.\n-5 mm cyst.\n-40 HU", ["2 nodes.", "5 mm cyst.", "-40 HU"]),
    ],
)
def test_sentences_are_found_where_a_reader_finds_them(text, sentences):
    assert split_sentences(text) == sentences


@pytest.mark.parametrize(
    "text, sentences",
    [
        ("Small vessel disease? and early infection", 1),
        ("Edema? with fluid! in both lungs", 1),
        ("Air bronchogram? clinical correlation is advised", 2),
        ("clinical lab. Correlation", 1),
        ("Clinic and lab. It is old.", 2),
        ("(parenchymal disease?) Bone structures are normal.", 2),
        ("A lesion (cyst?) in the liver, a node (Ca.) too.", 1),
        ("It is seen (clinical correlation is advised.) Emphysema", 2),
        ("Right 1.,2.,3. Nondisplaced fracture lines", 1),
        ("Left 2., 3.,4,5. ribs are broken", 1),
    ],
)
def test_a_sentence_goes_on_or_ends_as_its_reader_takes_it_row_r5(text, sentences):
    assert len(split_sentences(text)) == sentences


@pytest.mark.parametrize(
    "text, sentences",
    [
        ("1.Nodule in the right lung 2.Effusion", ["Nodule in the right lung", "Effusion"]),
        ("1. Nodule 2. Effusion 3. Cyst", ["Nodule", "Effusion", "Cyst"]),
        ("1) Nodule 2) Effusion", ["Nodule", "Effusion"]),
        ("1.) Nodule 2.) Effusion", ["Nodule", "Effusion"]),
        ("1- Nodule 2- Effusion of 1-2 mm", ["Nodule", "Effusion of 1-2 mm"]),
        ("1.Nodule in segment 2.Effusion", ["Nodule in segment 2.", "Effusion"]),
        ("3 cm.Dr. Anon saw it.", ["3 cm.", "Dr. Anon saw it."]),
        ("Node.Approx. 5 mm.No. 3 is old.", ["Node.", "Approx. 5 mm.", "No. 3 is old."]),
        ("As in [x]. Next", ["As in [x].", "Next"]),
        ("In station 7. Effusion", ["In station 7.", "Effusion"]),
    ],
)
def test_items_and_titles_are_told_from_ends_row_17g(text, sentences):
    assert split_sentences(text) == sentences


@pytest.mark.parametrize(
    "nothing",
    [
        None,
        float("nan"),
        "",
        "  ",
        "Not given.",
        "NOT GIVEN",
        "nan",
        "NaN",
        "None",
        "-",
        ".",
        "--",
        "n/a",
        '"',
        "\u200b\ufeff",
        "\u00a0",
        '"."',
        "•",
        "...",
        "not given . ",
    ],
)
def test_what_stands_for_a_missing_text_is_nothing(nothing):
    assert clean_text(nothing) == ""
    assert split_sentences(nothing) == []


def test_a_report_is_findings_then_impression_in_lower_case():
    assert report_sentences("Lungs Clear. OK.", "Normal") == ["lungs clear.", "ok.", "normal"]
    assert report_sentences("Not given.", "Normal.") == ["normal."]


@given(st.text(alphabet='ab1 .,?"()•\n-\u200bX', max_size=60))
@settings(max_examples=200, deadline=None)
def test_cleaning_twice_changes_nothing_and_no_letter_is_lost(text):
    cleaned = clean_text(text)
    assert clean_text(cleaned) == cleaned
    letters = [c for c in text if c in "abX"]
    assert [c for sentence in split_sentences(text) for c in sentence if c in "abX"] == letters


@pytest.mark.parametrize(
    "text",
    ["word " * 20_000, "x" * 50_000, ". " * 30_000, "no node. " * 10_000, '" ' * 30_000,
     "(a. " * 10_000, "1. " * 20_000, "\n" * 50_000, "a.b" * 20_000, " " * 50_000 + "x",
     "a\n" * 20_000, "•" * 50_000, "2. A " * 20_000, "1.,2., " * 10_000, "&amp;" * 20_000,
     "<p " * 20_000, "<!--" * 20_000, "_x005F" * 20_000, "\\n" * 20_000, "°" * 50_000,
     "½" * 50_000, "&#38;lt;" * 10_000],
    ids=["no stop", "one word", "stops", "short", "quotes", "open", "numbers", "lines", "dots",
         "blanks", "broken lines", "bullets", "items", "ordinals", "entities", "tags", "comments",
         "excel", "backslashes", "signs", "fractions", "layers"],
)  # fmt: skip
def test_very_long_texts_take_linear_time(text):
    start = time.process_time()
    split_sentences(text)
    assert time.process_time() - start < 5  # quadratic time would take hours


def read(path):
    csv.field_size_limit(10**8)
    with path.open(newline="", encoding="utf-8-sig") as table:
        return list(csv.DictReader(table))


def columns(path):
    return [report_sentences(row["Findings_EN"], row["Impressions_EN"]) for row in read(path)]


@pytest.mark.parametrize("name", ["ok_bom_crlf", "ok_quote_all", "ok_columns_reordered"])
def test_a_table_saved_in_another_way_has_the_same_sentences(shared_data, name):
    folder = shared_data / "broken" / "reports"
    assert columns(folder / f"{name}.csv") == columns(folder / "ok_reports.csv")


def test_newlines_and_quotes_inside_fields_keep_the_sentences(shared_data):
    folder = shared_data / "broken" / "reports"
    plain = columns(folder / "ok_reports.csv")
    odd = columns(folder / "ok_quotes_newlines.csv")
    different = [n for n, (a, b) in enumerate(zip(plain, odd, strict=True)) if a != b]
    assert different == [1]  # where words in quotation marks were put before the first sentence
    assert len(plain[1]) == len(odd[1])


def test_missing_texts_of_a_table_leave_no_sentence(shared_data):
    rows = columns(shared_data / "broken" / "reports" / "empty_findings.csv")
    assert [n for n, sentences in enumerate(rows) if not sentences] == [1, 2]
    assert not any(s.strip(" .") in ("nan", "not given") for row in rows for s in row)


def test_monstrous_real_rows_are_split_in_seconds(shared_data):
    start = time.process_time()
    rows = columns(shared_data / "broken" / "reports" / "very_long.csv")
    assert time.process_time() - start < 5
    assert all(sentence.strip() for row in rows for sentence in row)


def test_real_reports_split_into_sentences_of_plausible_length(shared_data):
    reports = shared_data / "reports"
    texts = [r["report_text"] for r in read(reports / "ctrate_text_classifier" / "train.csv")]
    chest = json.loads((reports / "ctrg_chest/chest_ctrg_nitfy_ori_split.json").read_text())
    texts += [record["report"] + " " + record["result"] for record in chest["train"]]
    lengths = [len(s.split()) for text in texts for s in split_sentences(text)]
    few_words = sum(length < 2 for length in lengths)
    assert 8 < sum(lengths) / len(lengths) < 16, f"{len(lengths)} sentences"
    assert few_words < 0.02 * len(lengths), f"{few_words} of {len(lengths)} have one word"
    assert max(lengths) < 250


def letters(text):
    return [c for c in text if c.isalpha()]


def spelled(text):
    """With the letters of the signs that have a plain spelling."""
    return text.replace("×", "x").replace("℉", "°F").replace("°", "degrees")


def test_nothing_of_a_real_report_is_lost_but_the_numbers_of_lists(shared_data):
    texts = sorted(set(real_texts(shared_data)))
    assert len(texts) > 2500
    number = re.compile(r"\d+(?:[.,]\d+)+")
    list_mark = re.compile(r"(?:^|[.?!] )(\d{1,2})[.)](?!\d)", re.MULTILINE)
    for text in texts:
        cleaned, sentences = clean_text(text), split_sentences(text)
        joined = " ".join(sentences)
        assert clean_text(cleaned) == cleaned
        assert letters(joined) == letters(cleaned)
        assert letters(cleaned) == letters(spelled(text))
        assert all(any(c.isalnum() for c in sentence) for sentence in sentences)
        assert number.findall(joined) == number.findall(cleaned)  # none is cut
        digits = sum(c.isdigit() for c in cleaned) - sum(c.isdigit() for c in joined)
        assert digits <= sum(map(len, list_mark.findall(cleaned)))
