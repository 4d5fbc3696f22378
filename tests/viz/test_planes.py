import numpy as np
import pytest

from mg3d.viz.planes import PLANES, best_index, cut, extent_of, find_plane

SHAPE = (4, 3, 5)  # inferior-superior, posterior-anterior, left-right


def volume_with_one_voxel(at):
    volume = np.zeros(SHAPE)
    volume[at] = 1
    return volume


@pytest.mark.parametrize(
    ("plane", "at", "row", "column"),
    [
        ("axial", (1, 2, 4), 0, 0),  # front, right: top left
        ("axial", (1, 0, 0), 2, 4),  # back, left: bottom right
        ("coronal", (3, 1, 4), 0, 0),  # above, right: top left
        ("coronal", (0, 1, 0), 3, 4),  # below, left: bottom right
        ("sagittal", (3, 2, 2), 0, 0),  # above, front: top left
        ("sagittal", (0, 0, 2), 3, 2),  # below, back: bottom right
    ],
)
def test_the_patients_right_and_front_are_on_the_left_of_the_picture(plane, at, row, column):
    hung = PLANES[plane]
    picture = cut(volume_with_one_voxel(at), hung, at[hung.cut])
    assert [tuple(p) for p in np.argwhere(picture)] == [(row, column)]


def test_the_marks_say_what_the_picture_does():
    assert PLANES["axial"].marks == ("R", "L", "A", "P")
    assert PLANES["coronal"].marks == ("R", "L", "S", "I")
    assert PLANES["sagittal"].marks == ("A", "P", "S", "I")


@pytest.mark.parametrize(
    ("plane", "millimetres"), [("axial", (20, 9)), ("coronal", (20, 8)), ("sagittal", (9, 8))]
)
def test_pictures_have_the_size_of_the_body_part(plane, millimetres):
    _, width, _, height = extent_of(PLANES[plane], SHAPE, (2.0, 3.0, 4.0))
    assert (width, height) == millimetres


def test_the_slice_with_most_of_the_mask_is_taken():
    mask = np.zeros(SHAPE, dtype=bool)
    mask[0, 0, 0] = mask[3, 1, 1] = mask[3, 1, 2] = True
    assert [best_index(mask, plane, SHAPE) for plane in PLANES.values()] == [3, 1, 0]


def test_without_a_mask_it_is_the_middle():
    empty = np.zeros(SHAPE, dtype=bool)
    for mask in (None, empty):
        assert [best_index(mask, plane, SHAPE) for plane in PLANES.values()] == [2, 1, 2]


def test_an_unknown_plane_is_refused_with_those_there_are():
    with pytest.raises(ValueError, match=r"axial, coronal, sagittal, got 'oblique'"):
        find_plane("oblique")
