import numpy as np
import pytest
from matplotlib.colors import to_hex

from mg3d.viz.style import GREEN, ORANGE
from mg3d.viz.thresholds import show_cosines, show_pairs

PAIRS = [("no node.", "there is no node.", True), ("no node.", "a node.", False)]


def test_pairs_show_every_measure_in_its_row_and_the_truth_in_colour(words_of):
    fig = show_pairs(PAIRS, {"words": np.array([0.7, 0.8]), "counts": np.array([0.1, 0.2])})
    (axes,) = fig.axes
    dots = {line.get_label(): line.get_xydata().tolist() for line in axes.lines}
    assert dots == {"words": [[0.7, 0], [0.8, 1]], "counts": [[0.1, 0], [0.2, 1]]}
    labels = axes.get_yticklabels()
    assert [label.get_text() for label in labels] == ["no node.\nthere is no node.",
                                                      "no node.\na node."]  # fmt: skip
    assert [to_hex(label.get_color()) for label in labels] == [GREEN, ORANGE]
    assert "undecided" in words_of(fig)


def test_zones_are_drawn_at_the_thresholds():
    fig = show_pairs(PAIRS, {"words": np.zeros(2)}, same_above=0.8, different_below=0.3)
    zones = [p.get_extents().transformed(fig.axes[0].transData.inverted())
             for p in fig.axes[0].patches]  # fmt: skip
    assert zones[0].x0 == pytest.approx(0.8)
    assert zones[1].x1 == pytest.approx(0.3)


def test_cosines_are_shares_of_like_and_of_unlike_pairs(words_of):
    same = np.array([True, True, False, False, False, False])
    values = np.array([0.95, 0.5, 0.1, 0.1, 0.1, 0.95])
    fig = show_cosines({"words": values}, same)
    heights = {
        to_hex(patch.get_facecolor()): np.asarray(patch.get_path().vertices)[:, 1].max()
        for patch in fig.axes[0].patches
        if len(patch.get_path().vertices) > 10
    }
    assert heights == {ORANGE: pytest.approx(0.75), GREEN: pytest.approx(0.5)}
    words = words_of(fig)
    assert "say the same (2 pairs)" in words and "say something else (4 pairs)" in words
