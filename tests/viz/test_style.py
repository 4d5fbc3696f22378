import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

from mg3d.viz.style import HU_WINDOWS, figure_function, find_window, to_hu, to_numpy


def test_the_models_scale_becomes_hu():
    unit = torch.tensor([0.0, 0.5, 1.0], requires_grad=True)
    np.testing.assert_allclose(to_hu(unit, (-1000, 1000)), [-1000, 0, 1000])
    stored = np.array([0, 255], dtype=np.uint8)
    np.testing.assert_allclose(to_hu(stored, (-1000, 1000)), [-1000, 1000])


def test_hu_stay_as_they_are():
    hu = np.array([-1000.0, 0.0, 40.0])
    assert to_hu(hu, None) is hu


@pytest.mark.parametrize("voxels", [np.zeros(3, dtype=np.uint8), np.array([0.0, 1.0])])
def test_the_models_scale_is_not_taken_for_hu(voxels):
    with pytest.raises(ValueError, match=r"unit_hu=\(-1000, 1000\)"):
        to_hu(voxels, None)


def test_a_window_is_named_in_the_caption():
    assert find_window("soft tissue") == ((-160.0, 240.0), "soft tissue window −160 to +240 HU")
    assert find_window((0, 100)) == ((0, 100), "window +0 to +100 HU")
    assert all(low < high for low, high in HU_WINDOWS.values())


def test_an_unknown_window_is_refused_with_those_there_are():
    with pytest.raises(ValueError, match=r"lung, soft tissue, bone, model, got 'brain'"):
        find_window("brain")


def test_a_figure_is_closed_and_leaves_the_readers_style_alone():
    before = dict(plt.rcParams)
    fig = figure_function(lambda: plt.figure())()
    assert not plt.get_fignums()
    assert dict(plt.rcParams) == before
    assert fig.get_layout_engine() is not None


def test_a_refused_figure_is_closed_and_the_readers_own_stays_open():
    def refuse():
        plt.subplots()
        raise ValueError("no such thing")

    own = plt.figure()
    try:
        with pytest.raises(ValueError, match="no such thing"):
            figure_function(refuse)()
        assert plt.get_fignums() == [own.number]
        figure_function(lambda: plt.figure())()
        assert plt.get_fignums() == [own.number]
    finally:
        plt.close(own)


def test_tensors_and_arrays_are_equal():
    assert np.array_equal(to_numpy(torch.arange(3)), to_numpy(np.arange(3)))
