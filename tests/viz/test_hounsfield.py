import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_rgb

from mg3d.viz.hounsfield import TISSUES_HU, show_hu_histograms, show_windows
from mg3d.volumes.histogram import LANDMARKS_HU

SPACING = (4.0, 2.0, 1.0)


def heights_by_color(axes):
    found = {}
    for bar in axes.patches:
        if isinstance(bar, plt.Rectangle) and 0 < bar.get_height() <= 1 and bar.get_alpha() is None:
            color = tuple(np.round(bar.get_facecolor()[:3], 3))
            found[color] = found.get(color, 0) + bar.get_height()
    return found


def test_a_histogram_colours_each_value_by_what_it_would_be_taken_for(words_of):
    values = np.repeat([-1000.0, -800.0, -100.0, 45.0], [5, 2, 1, 2])
    fig = show_hu_histograms({"a scan": values}, title="Look", note="made up")
    found = heights_by_color(fig.axes[0])
    shares = {"air": 0.5, "lung": 0.2, "fat": 0.1, "soft tissue": 0.2, "bone": 0.0}
    for tissue, share in shares.items():
        color = tuple(np.round(to_rgb(TISSUES_HU[tissue][2]), 3))
        assert found.get(color, 0) == pytest.approx(share), tissue
    words = words_of(fig)
    assert all(word in words for word in ("Look", "made up", "a scan"))
    legend = [text.get_text() for text in fig.legends[0].get_texts()]
    assert legend == list(TISSUES_HU)


def test_a_histogram_says_what_lies_outside_its_axis(words_of):
    inside = show_hu_histograms({"a": np.zeros(4)})
    outside = show_hu_histograms({"a": np.array([0.0, 0.0, 0.0, -2000.0])})
    assert "outside" not in words_of(inside)
    assert "outside the axis: 25.00%" in words_of(outside)


def test_the_figure_marks_the_ranges_that_the_data_are_proved_by():
    assert {name: (low, high) for name, (low, high, _) in TISSUES_HU.items()} == LANDMARKS_HU
    assert len({color for _, _, color in TISSUES_HU.values()}) == len(LANDMARKS_HU)


def test_no_volume_is_refused():
    with pytest.raises(ValueError, match="give at least one volume"):
        show_hu_histograms({})


def test_windows_show_one_slice_between_different_ends(words_of):
    hu = np.random.default_rng(0).integers(-1000, 1000, (8, 6, 10))
    fig = show_windows(hu, SPACING, ("lung", (-10, 20)), index=2, title="Look")
    pictures = [axes.images[0] for axes in fig.axes]
    for picture in pictures:
        np.testing.assert_array_equal(picture.get_array(), hu[2, ::-1, ::-1])
        assert tuple(picture.get_extent()) == (0, 10, 0, 12)
    assert [picture.get_clim() for picture in pictures] == [(-1350, 150), (-10, 20)]
    words = words_of(fig)
    assert "axial 2 of 8" in words and "voxel 4 × 2 × 1 mm" in words
    assert "lung window −1350 to +150 HU" in words and "window −10 to +20 HU" in words
