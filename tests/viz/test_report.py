import pytest

from mg3d.viz.report import show_hidden_words, show_pieces, show_report, show_tokens


def test_marked_sentences_carry_the_name_of_their_finding():
    html = show_report(["Heart normal.", "Nodule <6 mm."], {1: "Lung nodule"}, title="Report").data
    assert html.count("<mark") == 1
    assert "Heart normal." in html and "Lung nodule" in html and "<b>Report</b>" in html
    assert "Nodule &lt;6 mm." in html


def test_one_finding_has_one_colour():
    same = show_report(["a", "b"], {0: "x", 1: "x"}).data
    different = show_report(["a", "b"], {0: "x", 1: "y"}).data
    colours = [len({part[:7] for part in h.split("solid ")[2:]}) for h in (same, different)]
    assert colours == [1, 2]


def test_a_sentence_that_is_not_there_is_refused():
    with pytest.raises(ValueError, match=r"sentences \[2\], but there are 2; count from 0"):
        show_report(["a", "b"], {2: "x"})


def test_hidden_words_stand_beside_the_guesses():
    html = show_hidden_words(["no", "pleural", "effusion"], {1: "pericardial", 2: "effusion"}).data
    assert "1 of 2 right" in html
    assert html.count("✓") == html.count("✗") == 1
    assert "<s" in html and "pericardial" in html


def test_pieces_are_boxed_counted_and_safe():
    html = show_pieces({"naive": ["A 1.", "5 cm <b>."], "none": []}, title="Cut").data
    assert html.count("border:1px") == 2
    assert ">2<" in html and ">0<" in html and "nothing" in html
    assert "5 cm &lt;b&gt;." in html and "<b>Cut</b>" in html


def test_tokens_of_a_word_share_a_box_and_those_of_a_sentence_a_line():
    tokens = ["[CLS]", "no", "pneumo", "##thorax", "heart", "[SEP]"]
    html = show_tokens(tokens, [-1, 0, 0, 0, 1, -1], [-1, 0, 1, 1, 2, -1]).data
    assert html.count("border:1px") == 3 and html.count("<br>") == 2
    assert "pneumo·thorax" in html and "CLS" not in html
    assert "color:white" not in html


def test_hidden_tokens_are_marked():
    html = show_tokens(["no", "node"], [0, 0], [0, 1], [False, True]).data
    assert html.count("color:white") == 1 and "color:white'>node<" in html


def test_tokens_without_their_sentences_are_refused():
    with pytest.raises(ValueError, match="one entry per token, but there are 2, 1, 2 and 2"):
        show_tokens(["no", "node"], [0], [0, 1])
