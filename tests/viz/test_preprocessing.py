import numpy as np
import pytest
from matplotlib.patches import Rectangle

from mg3d.viz.preprocessing import show_what_the_model_sees

AFFINE = np.zeros((4, 4))
AFFINE[[2, 1, 0, 3], [0, 1, 2, 3]] = 1


def grid(start, step):
    """Affine of a grid that begins `start` voxels from the edge, with voxels of `step`."""
    index = np.eye(4)
    for axis in range(3):
        index[axis, axis] = step[axis]
        index[axis, 3] = start[axis] + step[axis] / 2 - 0.5
    return AFFINE @ index


def boxes(figure, panel):
    return [p for p in figure.axes[panel].patches if isinstance(p, Rectangle)]


def scan(shape=(20, 30, 40)):
    hu = np.full(shape, -1000.0)
    hu[:, :, :10] = 50.0  # the patient's left
    return hu


def test_the_box_lies_where_the_grid_was_taken_from():
    figure = show_what_the_model_sees(
        scan(), AFFINE, np.full((5, 5, 5), -10.0), grid((2, 4, 6), (2, 3, 4))
    )
    box = boxes(figure, 0)[-1]  # axial: across is the last axis, from right to left
    assert box.get_xy() == pytest.approx((40 - 6 - 20, 4))
    assert (box.get_width(), box.get_height()) == pytest.approx((20, 15))
    box = boxes(figure, 1)[-1]  # coronal
    assert box.get_xy() == pytest.approx((14, 2))
    assert (box.get_width(), box.get_height()) == pytest.approx((20, 10))
    box = boxes(figure, 2)[-1]  # sagittal: across is the second axis
    assert box.get_xy() == pytest.approx((30 - 4 - 15, 2))


def test_the_models_picture_lies_in_its_box_at_the_same_scale():
    figure = show_what_the_model_sees(
        scan(), AFFINE, np.full((5, 5, 5), -10.0), grid((2, 4, 6), (2, 3, 4))
    )
    for above, below in zip(figure.axes[:3], figure.axes[3:6], strict=True):
        box = [p for p in above.patches if isinstance(p, Rectangle)][-1]
        left, right, bottom, top = below.images[0].get_extent()
        assert (left, bottom) == pytest.approx(box.get_xy())
        assert (right - left, top - bottom) == pytest.approx((box.get_width(), box.get_height()))
        assert above.get_xlim() == below.get_xlim()
        assert above.get_ylim() == below.get_ylim()


def test_both_rows_show_the_same_slice_through_the_same_window():
    source = scan()
    source[12, 19] = 700.0
    model = np.full((5, 5, 5), -1000.0)
    model[2, 2] = 700.0  # axial 2 begins at 2 + 2 * 4 = 10, ends at 14
    figure = show_what_the_model_sees(
        source, AFFINE, model, grid((2, 4, 0), (4, 6, 8)), at=(2, 2, 2), window_hu="bone"
    )
    above, below = figure.axes[0], figure.axes[3]
    assert above.get_title(loc="left") == "axial 12 of 20"
    assert below.get_title(loc="left") == "axial 2 of 5"
    assert above.images[0].get_clim() == below.images[0].get_clim() == (-500, 1300)
    assert above.images[0].get_array().max() == below.images[0].get_array().max() == 700


def test_a_box_beyond_the_scan_is_in_the_frame():
    figure = show_what_the_model_sees(
        scan(),
        AFFINE,
        np.full((4, 4, 4), 0.5),
        grid((-5, -5, -5), (10, 10, 15)),
        unit_hu=(-1000, 1000),
    )
    assert figure.axes[0].get_xlim() == (-15, 45)
    assert figure.axes[0].get_ylim() == (-5, 35)
    assert figure.axes[3].images[0].get_array().max() == 0  # HU


def test_turned_grids_are_refused():
    turned = AFFINE[:, [1, 0, 2, 3]]
    with pytest.raises(ValueError, match="canonical order"):
        show_what_the_model_sees(scan(), AFFINE, np.full((4, 4, 4), -10.0), turned)
