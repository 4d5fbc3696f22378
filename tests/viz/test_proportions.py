import matplotlib.pyplot as plt
import numpy as np

from mg3d.viz.proportions import show_proportions


def test_the_same_slice_is_counted_in_voxels_and_measured_in_mm():
    hu = np.random.default_rng(0).integers(-1000, 1000, (8, 6, 10))
    fig = show_proportions(hu, (4.0, 2.0, 1.0), plane="coronal", title="Look")
    counted, measured = (axes.images[0] for axes in fig.axes)
    np.testing.assert_array_equal(counted.get_array(), hu[::-1, 3, ::-1])
    np.testing.assert_array_equal(measured.get_array(), hu[::-1, 3, ::-1])
    assert tuple(counted.get_extent()) == (0, 10, 0, 8)
    assert tuple(measured.get_extent()) == (0, 10, 0, 32)
    fig.canvas.draw()
    words = " | ".join(text.get_text() for text in fig.findobj(plt.Text))
    assert "counted in voxels: 10 wide, 8 high" in words
    assert "measured in mm: 10 wide, 32 high" in words
    assert "1 mm across, 4 mm up" in words and "Look" in words
    assert not plt.get_fignums()
