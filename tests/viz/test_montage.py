"""The montage: every slice it names, once a window, with the patient's right on the left."""

import numpy as np
import pytest

from mg3d.viz.montage import show_montage


def scan():
    hu = np.full((41, 20, 30), -1000.0)
    hu[:, :, 20:] = 40.0  # tissue on the patient's right
    hu += np.arange(41)[:, None, None]  # one more in each slice up
    return hu


def pictures(figure):
    return [axis for axis in figure.axes if axis.images]


def test_axial_slices_rise_from_bottom_to_top_and_every_view_is_shown_once_a_window():
    figure = show_montage(scan(), (2.5, 2.0, 2.0), every_mm=20, windows=("lung", "bone"), title="t")
    shown = pictures(figure)
    assert len(shown) == 2 * (5 + 3 + 3)
    lung, bone = shown[:11], shown[11:]
    slices = [float(axis.images[0].get_array()[0, 0]) - 40 for axis in lung[:5]]
    assert slices == [4, 12, 20, 28, 36]  # 20 mm apart, the same distance from both ends
    assert lung[0].images[0].get_clim() != bone[0].images[0].get_clim()
    assert [axis.get_title(loc="left").split()[0] for axis in lung[5:]] == ["coronal"] * 3 + [
        "sagittal"
    ] * 3


def test_the_right_side_is_shown_on_the_left():
    axis = pictures(show_montage(scan(), (2.5, 2.0, 2.0), title="t"))[0]
    image = np.asarray(axis.images[0].get_array())
    assert (image[:, :10] > 0).all() and (image[:, 10:] < 0).all()


def test_slices_closer_than_the_scan_has_are_refused():
    with pytest.raises(ValueError, match=r"2\.5 mm apart, got every_mm 2;"):
        show_montage(scan(), (2.5, 2.0, 2.0), every_mm=2, title="t")
