"""Losses against size: every run is a dot, and what was not measured looks different."""

import numpy as np
import pytest

from mg3d.viz.scaling import show_law

RUNS = [
    {"line": line, "x": x, "loss": loss + place}
    for place, line in enumerate(("s", "m"))
    for x in (32, 128, 512)
    for loss in (3.0 - x / 512, 3.1 - x / 512)
]
CURVES = [
    {"line": line, "x": x, "loss": 3.0, "low": 2.8, "high": 3.3}
    for line in ("s", "m")
    for x in (32, 512, 2048)
]
LABELS = {"x_label": "training patients", "y_label": "loss, nats"}


def test_every_run_is_a_dot_and_a_law_is_dashed_beyond_them(words_of):
    fig = show_law(RUNS, CURVES, **LABELS, marks={"guessing": 2.77}, title="Title", note="Note")
    (axes,) = fig.axes
    dots, inside, beyond = axes.lines[:3]
    np.testing.assert_array_equal(dots.get_xdata(), [32, 32, 128, 128, 512, 512])
    np.testing.assert_array_equal(inside.get_xdata(), [32, 512])
    np.testing.assert_array_equal(beyond.get_xdata(), [512, 2048])
    assert beyond.is_dashed() and not inside.is_dashed()
    assert dots.get_color() == inside.get_color() == beyond.get_color()
    second = axes.lines[3]
    assert second.get_color() != dots.get_color() and second.get_marker() != dots.get_marker()
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    words = words_of(fig)
    for word in ("s", "m", "not measured", "guessing", "Title", "Note", "training"):
        assert word in words
    assert [text.get_text() for text in axes.get_xticklabels()] == ["32", "128", "512", "2,048"]


def test_without_a_law_the_means_are_joined_and_all_is_measured(words_of):
    fig = show_law(RUNS, **LABELS)
    joined = fig.axes[0].lines[1]
    np.testing.assert_allclose(joined.get_ydata(), [3.05 - x / 512 for x in (32, 128, 512)])
    assert "not measured" not in words_of(fig)


def test_a_law_that_ends_with_the_runs_has_nothing_that_was_not_measured(words_of):
    fig = show_law(RUNS, [row for row in CURVES if row["x"] <= 512], **LABELS)
    assert "not measured" not in words_of(fig)


@pytest.mark.parametrize("scale", [0.01, 1.0, 300.0])
def test_losses_of_any_size_get_a_few_round_numbers(scale):
    fig = show_law([{**run, "loss": run["loss"] * scale} for run in RUNS], **LABELS)
    fig.canvas.draw()
    (axes,) = fig.axes
    low, high = axes.get_ylim()
    assert 3 <= len([y for y in axes.get_yticks() if low <= y <= high]) <= 8


def test_a_table_without_a_column_is_refused():
    with pytest.raises(ValueError, match="the table lacks the columns x"):
        show_law([{"line": "s", "loss": 1.0}], **LABELS)
    with pytest.raises(ValueError, match="the table lacks the columns low, high"):
        show_law(RUNS, [{"line": "s", "x": 1, "loss": 1.0}], **LABELS)
