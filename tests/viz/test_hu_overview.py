import numpy as np
import pytest

from mg3d.viz.hounsfield import TISSUES_HU
from mg3d.viz.hu_overview import MOST_LINES, show_hu_overview

EDGES = np.linspace(-1105, 1505, 262)


def rows(number, air=10):
    """Volumes of nothing but air and soft tissue."""
    shares = np.zeros((number, 261))
    shares[:, air], shares[:, 115] = 0.6, 0.4
    return shares


def test_median_band_and_lines_show_the_numbers_given():
    shares = rows(5)
    figure = show_hu_overview(shares, EDGES, title="proof", note="set")
    top, below = figure.axes[:2]
    median = top.patches[-1].get_data().values
    assert median[10] == 0.6
    assert median[115] == 0.4
    assert below.images[0].get_array().shape == (5, 261)
    assert {text.get_text() for text in top.texts} == set(TISSUES_HU)
    assert "5 volumes" in figure.get_supxlabel() and "set" in figure.get_supxlabel()


def test_the_odd_volume_is_at_the_bottom():
    shares = rows(9)
    shares[3] = rows(1, air=60)[0]
    lines = show_hu_overview(shares, EDGES).axes[1].images[0].get_array()
    assert lines[-1][60] == 0.6
    assert (lines[:-1, 10] == 0.6).all()


def test_volumes_without_hu_have_no_tissues():
    figure = show_hu_overview(np.full((2, 100), 0.01), np.linspace(0, 1, 101), unit="0 to 1")
    assert not figure.axes[0].texts
    assert "not in HU" in figure.get_supxlabel()


def test_many_volumes_are_thinned_out_and_it_says_so():
    figure = show_hu_overview(rows(MOST_LINES + 50), EDGES)
    assert len(figure.axes[1].images[0].get_array()) == MOST_LINES
    assert f"{MOST_LINES} of them shown" in figure.get_supxlabel()


def test_no_volume_is_refused():
    with pytest.raises(ValueError, match="no volume to show"):
        show_hu_overview(np.zeros((0, 261)), EDGES)
