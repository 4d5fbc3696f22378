"""Which characters of a report are kept, mapped or dropped; numbers are the rows of the trials."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mg3d.text.characters import SIGNS, plain_characters
from mg3d.text.encoder import load_text_encoder
from mg3d.text.report import clean_text, report_sentences


def sentences(text):
    return report_sentences(text, None)


@pytest.mark.parametrize(
    "text, expected",
    [
        ("A mass of 1½ cm.", ["a mass of 1 1/2 cm."]),
        ("A mass of 2¼ cm.", ["a mass of 2 1/4 cm."]),
        ("½ cm, ⅓ of it, 1½½.", ["1/2 cm, 1/3 of it, 1 1/2 1/2."]),
        ("1&frac12; cm", ["1 1/2 cm"]),
        ("10³ and 5×10⁻³, 10⁹/L.", ["10^3 and 5x10^-3, 10^9/l."]),
        ("10<sup>3</sup> cells.", ["10^3 cells."]),
        ("12 mm² and 3 cm³.", ["12 mm2 and 3 cm3."]),
        ("12 mm<sup>2</sup>.", ["12 mm2."]),
        ("cm⁻¹, CD4⁺, H₂O.", ["cm-1, cd4+, h2o."]),
        ("Level 5⑧ and ⑧5.", ["level 5 8 and 8 5."]),
        ("A node of 1·5 cm.", ["a node of 1.5 cm."]),
        ("5．5 mm, １２ mm, ٣ cm.", ["5.5 mm, 12 mm, 3 cm."]),
        ("㎜: 5㎜, Ⅲ, 1ˢᵗ rib.", ["mm: 5mm, iii, 1st rib."]),
        ("№3 and N° 4.", ["no. 3 and no. 4."]),
    ],
)
def test_no_sign_becomes_part_of_another_number_row_17(text, expected):
    assert sentences(text) == expected


@pytest.mark.parametrize(
    "text, expected",
    [
        ("Fat of −40 HU.", ["fat of -40 hu."]),
        ("−40 HU in the node.", ["-40 hu in the node."]),
        ("−40 to −20 HU.", ["-40 to -20 hu."]),
        ("Nodes ≤5 mm, masses ≥ 3 cm.", ["nodes <=5 mm, masses >= 3 cm."]),
        ("> 5 mm, as before.", ["> 5 mm, as before."]),
        ("≯ 5 mm, ≮ 3 mm, ≠ 4 mm.", ["<= 5 mm, >= 3 mm, != 4 mm."]),
        ("±2 mm, 8×9 mm, 5÷2, ≈3.", ["+/-2 mm, 8x9 mm, 5/2, ~3."]),
        ("5 µm, 5 μg, 5 µ.", ["5 um, 5 ug, 5 u."]),
        ("37℃, 37°C, 37 ° C, 50°.", ["37 degrees c, 37 degrees c, 37 degrees c, 50 degrees."]),
        ("5–6 mm — 5‑6 mm ― 5﹣6 mm.", ["5-6 mm - 5-6 mm - 5-6 mm."]),
        ("Size ↑, 5 €.", ["size ↑ , 5 € ."]),
    ],
)
def test_signs_are_spelled_as_the_embedded_tokenizer_reads_them_row_17b(text, expected):
    assert sentences(text) == expected


@pytest.fixture(scope="module")
def tokenizer():
    return load_text_encoder("embedded").tokenizer


def test_the_embedded_tokenizer_knows_every_mapped_sign_row_17b(tokenizer):
    for sign in (*map(chr, SIGNS), "µ", "℃", "½", "²", "ﬁ", "１"):
        for sentence in sentences(f"about 4{sign}5 mm"):
            assert "[UNK]" not in tokenizer.tokenize(sentence), sign


def test_an_unknown_sign_takes_no_digit_with_it_row_17b(tokenizer):
    assert tokenizer.tokenize(sentences("size ↑5 mm")[0]) == ["size", "[UNK]", "5", "mm"]


@pytest.mark.parametrize(
    "text, expected",
    [
        ("Normal._x000D_\nNo effusion.", ["normal.", "no effusion."]),
        ("Normal_x000d__x000a_No effusion.", ["normal", "no effusion."]),
        ("Normal._x005F_x000D_No effusion.", ["normal.", "no effusion."]),
        ("Nodes_x0009__x2264_5 mm.", ["nodes <=5 mm."]),
        ("Fields_x of view, file_x00.", ["fields_x of view, file_x00."]),
        ("_x000D_", []),
    ],
)
def test_escapes_of_excel_are_no_words_row_17c(text, expected):
    assert sentences(text) == expected


@pytest.mark.parametrize(
    "text, expected",
    [
        ("Nodes &lt;5 mm, it&#39;s old.", ["nodes <5 mm, it's old."]),
        ("Nodes &amp;lt;5 mm &amp; &amp;amp;gt; 3.", ["nodes <5 mm & > 3."]),
        ("Nodes &lt 5 mm,&nbspnew.", ["nodes < 5 mm, new."]),
        ("Normal.<br>No effusion.</p>", ["normal.", "no effusion."]),
        ("<p class='a'>Normal</p><P>No<BR/>Mass</P>", ["normal", "no", "mass"]),
        ("&lt;p&gt;Normal&lt;/p&gt;Clear", ["normal", "clear"]),
        ('<b>No</b> <span style="a: b">node</span>.', ["no node."]),
        ("<style>p {a: b.c}</style><!-- not. this -->Clear.", ["clear."]),
        ("<tr><td>Node</td><td>5 mm</td></tr>", ["node 5 mm"]),
        ("A node <5 mm and >3 mm.", ["a node <5 mm and >3 mm."]),
        ("Length a <b and c> d, p<0.05.", ["length a <b and c> d, p<0.05."]),
        ("R&D, &notes; and masses&notes.", ["r&d, &notes; and masses&notes."]),
        (r"Normal.\nNo effusion.\r\nClear", ["normal.", "no effusion.", "clear"]),
        (r"Normal\n\nNo effusion\t5 mm", ["normal", "no effusion 5 mm"]),
        (r"A mass\nodule and\or cyst.", [r"a mass\nodule and\or cyst."]),
        (r"Nodes \u22645 mm, \"old\".", ["nodes <=5 mm, old."]),
    ],
)
def test_escapes_of_html_and_json_are_decoded_and_text_is_left_row_17e(text, expected):
    assert sentences(text) == expected


@pytest.mark.parametrize(
    "text, expected",
    [
        ("No\u200beffusion", ["no effusion"]),
        ("No\u3164effusion\u2800here", ["no effusion here"]),
        ("Effu\u00adsion, effu\u00ad\nsion", ["effusion, effusion"]),
        ("Ef\u2060fu\ufeffsi\u200con\u200d", ["effusion"]),
        ("\u202eLungs\u202c are\u200f clear\u2069.", ["lungs are clear."]),
        ("No\u00a0\u202f\u2009\u3000effusion", ["no effusion"]),
        ("Clear.\u2028No mass\u2029Cyst\x0bNode", ["clear.", "no mass", "cyst", "node"]),
        ("No\x00de, no\x1ftab\x7f.", ["node, no tab."]),
        ("Clear\ufe0f \U000e0041now.", ["clear now."]),
        ("\uf0b7 Cyst \uf0a7 Node \uf0a35 mm", ["cyst", "node <=5 mm"]),
        ("\ue000Lungs\ud800clear\ufffdnow", ["lungs clear now"]),
    ],
)
def test_what_cannot_be_seen_is_a_blank_a_break_or_nothing_row_17f(text, expected):
    assert sentences(text) == expected


@pytest.mark.parametrize(
    "text, expected",
    [
        ("A ﬁssure, eﬄuent, Ｆｕｌｌ.", ["a fissure, effluent, full."]),
        ("Cafe\u0301, go\u0308g\u0306u\u0308s, Ångström", ["café, göğüs, ångström"]),
        ("İnfiltration, INFILTRATIıON.", ["infiltration, infiltratiion."]),
        ("“One’s” ‘own’, Crohn´s, 5′.", ["one's 'own', crohn's, 5'."]),
        ("胸部正常。右肺结节", ["胸部正常.", "右肺结节"]),
        ("Omnipaque™, μαλ.", ["omnipaque, μαλ."]),
    ],
)
def test_letters_are_kept_in_one_form(text, expected):
    assert sentences(text) == expected


@pytest.mark.parametrize(
    "text, expected",
    [
        ("Nodes â‰¤5 mm, Â±2, 10Â°, 8Ã—9.", ["nodes <=5 mm, +/-2, 10 degrees, 8x9."]),
        ("The patientâ€™s Ã¼lcer â€“ old.", ["the patient's ülcer - old."]),
        ("The patient\x92s node \x96 old\x85New", ["the patient's node - old", "new"]),
        ("«KÖ» stays.", ["kö stays."]),
    ],
)
def test_text_read_with_the_wrong_code_page_is_read_again(text, expected):
    assert sentences(text) == expected


def test_lower_casing_changes_no_length():
    assert all(
        len(s) == len(clean_text(t)) for t in ["İÇİN", "ẞ", "ΟΣ", "I\u0307"] for s in sentences(t)
    )


ODD = "aB1 .\n&;lt<>br/_x0D\\n²½³°µ≤−\u200b\u00ad\ufeffİıÂ±\x92\ud800é\u0301•·\uf0b7（１"


@given(st.text(alphabet=ODD, max_size=40))
@settings(max_examples=200, deadline=None)
def test_a_clean_text_stays_as_it_is(text):
    plain = plain_characters(text)
    assert plain_characters(plain) == plain
    assert clean_text(clean_text(text)) == clean_text(text)
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\xa0\u200b-\u200f\ud800-\udfff\ufeff]", plain)
