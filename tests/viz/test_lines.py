import matplotlib.pyplot as plt
import numpy as np
import pytest

from mg3d.viz.lines import show_lines

LINES = {"mine": ([1, 2, 3], [3.0, 2.0, 1.0]), "theirs": ([1, 3], [2.0, 2.5])}


def test_every_line_is_drawn_in_its_panel_with_one_style_a_label():
    fig = show_lines(
        {"first": LINES, "second": {"theirs": ([1, 2], [9.0, 8.0]), "trivial": ([1, 2], [1, 1])}},
        x_label="step",
        y_labels=("loss", "spread"),
        reference="trivial",
        note="two seeds",
    )
    first, second = fig.axes
    np.testing.assert_array_equal(first.lines[0].get_ydata(), [3.0, 2.0, 1.0])
    np.testing.assert_array_equal(second.lines[0].get_xdata(), [1, 2])
    assert first.lines[1].get_color() == second.lines[0].get_color() != first.lines[0].get_color()
    assert second.lines[1].is_dashed() and not second.lines[0].is_dashed()
    assert (second.get_title(loc="left"), second.get_ylabel()) == ("second", "spread")
    assert not plt.get_fignums()


def test_lines_and_labels_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="one y label per panel: 1 panels"):
        show_lines({"first": LINES}, x_label="step", y_labels=())
    with pytest.raises(ValueError, match="'mine' in 'first' has 2 x and 1 y"):
        show_lines({"first": {"mine": ([1, 2], [3.0])}}, x_label="step", y_labels=("loss",))
    assert not plt.get_fignums()
