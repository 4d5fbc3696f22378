"""The plate: a panel each, patient's right on the left, each in its own window and section."""

import matplotlib.pyplot as plt
import numpy as np

from mg3d.viz.plate import Panel, show_plate


def panel(**other) -> Panel:
    hu = np.full((20, 30), -1000.0)
    hu[:, 20:] = 40.0  # tissue on the patient's right
    settings = {"title": "one", "words": "two", "hu": hu, "spacing_mm": (2.0, 1.0)}
    return Panel(**{**settings, "window": "lung", **other})


def pictures(figure):
    return [axis for axis in figure.axes if axis.images]


def test_every_panel_is_drawn_and_the_rest_of_the_plate_stays_empty():
    figure = show_plate([panel(), panel(), panel()], columns=2)
    assert len(pictures(figure)) == 3
    plt.close(figure)


def test_the_right_side_is_shown_on_the_left():
    axis = pictures(show_plate([panel()]))[0]
    image = np.asarray(axis.images[0].get_array())
    assert (image[:, :10] == 40).all()
    assert axis.images[0].get_extent() == [0, 30, 0, 40]
    plt.close("all")


def test_a_section_has_its_width_and_its_middle():
    axis = pictures(show_plate([panel(centre=(9.5, 24.5), width_mm=10.0)]))[0]
    low, high = axis.get_xlim()
    assert (low, high) == (0.0, 10.0)  # column 24.5 of 30 is 5 mm from the mirrored edge
    plt.close("all")


def test_each_panel_has_its_own_window():
    axes = pictures(show_plate([panel(), panel(window="bone")]))
    assert axes[0].images[0].get_clim() == (-1350, 150)
    assert axes[1].images[0].get_clim() == (-500, 1300)
    plt.close("all")
