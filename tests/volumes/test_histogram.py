from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mg3d.volumes.histogram import BINS, LANDMARKS_HU, count_values, describe_landmarks
from mg3d.volumes.histogram import stack_histograms as stack
from mg3d.volumes.intensity import EightBit, ProvedHU
from mg3d.volumes.volume import StoredGrid, Volume

WINDOW = (-1000.0, 1000.0)


def chest(shift=0, slope=1.0):
    """A quarter each of air, lung, fat and soft tissue."""
    hu = np.empty((20, 20, 20), np.int32)
    hu[:, :, :5], hu[:, :, 5:10], hu[:, :, 10:15], hu[:, :, 15:] = -1000, -850, -100, 50
    stored = ((hu - shift) / slope).astype(np.int16)
    grid = StoredGrid(stored.shape, np.eye(4))
    return Volume(stored, np.eye(4), grid, Path("a.nii"), slope, shift)


def facts_of(volume, name="a", rule=None):
    scaled = (rule or ProvedHU()).scale(volume, hu_window=WINDOW)
    return {"volume_id": name, "rescale": scaled.facts, "histogram": count_values(scaled)}


def test_shares_by_hand():
    (found,) = stack([facts_of(chest())]).values()
    middles = (found.edges[1:] + found.edges[:-1]) / 2
    filled = found.shares[0] > 0
    assert middles[filled].tolist() == [-1000, -850, -100, 50]
    assert found.shares[0][filled].tolist() == [0.25] * 4


def test_it_counts_hu_not_stored_numbers():
    plain, stored = facts_of(chest()), facts_of(chest(shift=-1024, slope=2.0))
    assert plain["histogram"] == stored["histogram"]


def test_what_lies_beyond_is_in_the_end_bins():
    volume = chest()
    volume.voxels[0, 0, :2] = -3024
    volume.voxels[0, 0, 19] = 3071
    (found,) = stack([facts_of(volume)]).values()
    assert found.shares[0][0] == 2 / 8000
    assert found.shares[0][-1] == 1 / 8000
    assert found.shares[0].sum() == pytest.approx(1)


def test_volumes_of_two_units_are_kept_apart():
    grey = chest()
    grey = replace(grey, voxels=np.arange(8000).reshape(20, 20, 20) % 256)
    stacked = stack(
        [facts_of(chest(), "a"), facts_of(grey, "b", EightBit()), facts_of(chest(), "c")]
    )
    assert {unit: h.names for unit, h in stacked.items()} == {"HU": ("a", "c"), "0 to 1": ("b",)}
    assert stacked["0 to 1"].shares.shape == (1, BINS["0 to 1"][2])
    np.testing.assert_allclose(stacked["0 to 1"].shares, 1 / 100, atol=0.005)


def test_landmarks_of_a_data_set_lie_where_they_were_put():
    found = describe_landmarks(stack([facts_of(chest(), str(n)) for n in range(3)])["HU"])
    peaks = {name: described["peak_hu"] for name, described in found.items()}
    assert peaks["air"] == [-1000, -1000, -1000]
    assert peaks["lung"] == [-850, -850, -850]
    assert peaks["fat"] == [-100, -100, -100]
    assert peaks["soft tissue"] == [50, 50, 50]
    assert peaks["bone"] is None
    assert found["bone"] == {
        "range_hu": [200.0, 1500.0], "share": [0, 0, 0], "volumes": 0, "peak_hu": None,
    }  # fmt: skip
    assert found["fat"]["share"] == [0.25, 0.25, 0.25]
    assert found["fat"]["volumes"] == 3


def test_figures_mark_the_same_ranges():
    from mg3d.viz.hounsfield import TISSUES_HU

    assert {name: tissue[:2] for name, tissue in TISSUES_HU.items()} == LANDMARKS_HU
