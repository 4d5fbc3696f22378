import numpy as np
import pytest
from matplotlib.colors import to_hex

from mg3d.viz.pairs import KINDS, show_kinds, show_two_patients
from mg3d.viz.style import FAINT, GREEN, ORANGE

COSINE = np.array([[0.95, 0.7, 0.1], [0.2, 0.3, 0.65]])
TARGET = np.where(COSINE >= 0.9, COSINE, 0.0)
DECIDED = (COSINE >= 0.9) | (COSINE <= 0.6)
LONG = "no " * 40


def test_each_pair_has_its_cosine_and_the_colour_of_its_kind(words_of):
    fig = show_two_patients(COSINE, TARGET, DECIDED, ["one.", LONG], ["a.", "b.", "c."])
    cosines, kinds = (axes.images[0] for axes in fig.axes)
    np.testing.assert_array_equal(cosines.get_array(), COSINE)
    drawn = [[to_hex(kinds.cmap(kinds.norm(k))) for k in row] for row in kinds.get_array()]
    assert drawn == [[GREEN, FAINT, ORANGE], [ORANGE, ORANGE, FAINT]]
    words = words_of(fig)
    assert "same: 1" in words and "undecided: 2" in words and "different: 3" in words


def test_sentences_are_named_at_their_rows_and_columns_and_long_ones_cut(words_of):
    fig = show_two_patients(COSINE, TARGET, DECIDED, ["one.", LONG], ["a.", "b.", "c."])
    rows = [label.get_text() for label in fig.axes[0].get_yticklabels()]
    assert rows[0] == "one.  0" and rows[1].endswith("…  1") and len(rows[1]) < 60
    assert "0  a.\n1  b.\n2  c." in words_of(fig)


def test_sentences_that_are_not_those_of_the_matrix_are_refused():
    with pytest.raises(ValueError, match=r"1 and 3 sentences .* \(2, 3\)"):
        show_two_patients(COSINE, TARGET, DECIDED, ["one."], ["a.", "b.", "c."])


def test_kinds_are_shares_in_their_own_colours_with_what_is_asked(words_of):
    values = {"same": np.array([0.99, 0.99, 0.99, -0.5]), "undecided": np.array([0.3])}
    fig = show_kinds(values, asked={"same": 0.95})
    same, undecided = fig.axes
    heights = [patch.get_height() for patch in same.patches]
    assert max(heights) == pytest.approx(0.75) and sum(heights) == pytest.approx(1)
    assert {to_hex(patch.get_facecolor()) for patch in same.patches} == {KINDS["same"]}
    assert [line.get_xdata()[0] for line in same.lines] == [0.95] and not undecided.lines
    assert "same: 4 pairs" in words_of(fig)
