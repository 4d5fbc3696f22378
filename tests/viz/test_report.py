import pytest

from mg3d.viz.report import show_hidden_words, show_report


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
