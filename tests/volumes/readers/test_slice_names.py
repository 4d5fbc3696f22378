"""The number that runs gives the order, whatever other numbers a name holds."""

from pathlib import Path

import numpy as np
import pytest
from grey_slices import grey, save

from mg3d.volumes.readers.payload import VolumeError
from mg3d.volumes.readers.slice_names import in_order
from mg3d.volumes.volume import read_slices, read_volume


def ordered(names):
    """Names as given, put into another order and sorted again."""
    paths = [Path(name) for name in names]
    shuffled = [paths[k] for k in np.random.default_rng(0).permutation(len(paths))]
    found, warnings = in_order(Path("scan"), shuffled)
    return [path.name for path in found], warnings


def test_20_negative_numbers_are_ordered_as_numbers(tmp_path):
    folder = tmp_path / "scan"
    for number, image in enumerate(grey()):
        save(folder, image[None], name="slice_{}.png", start=number - 60)
    volume = read_volume(folder)
    plain = read_slices(save(tmp_path / "plain", grey()))
    np.testing.assert_array_equal(volume.voxels, plain.voxels)
    assert "slice numbers below zero; taken with their sign" in volume.warnings[0]


@pytest.mark.parametrize(
    "name",
    [
        "slice_{}.png",
        "{}.png",
        "slice {}.png",
        "z={}.png",
        "slice({}).png",
        "a_3_{}_b.png",
        "Z{}.png",
    ],
)
def test_20_numbers_on_both_sides_of_zero_are_ordered_as_numbers(name):
    names = [name.format(number) for number in range(-12, 13)]
    found, warnings = ordered(names)
    assert found == names
    assert warnings == ["slice numbers below zero; taken with their sign"]


@pytest.mark.parametrize("name", ["IM-0001-{}.png", "scan-{}.png", "a1-{:03d}.png", "7-{:04d}.png"])
def test_20_a_hyphen_after_a_letter_or_digit_is_no_minus(name):
    names = [name.format(number) for number in range(8, 13)]
    assert ordered(names) == (names, [])


@pytest.mark.parametrize("name", ["slice_-{:02d}.png", "z-{:03d}.png", "pos-{}.50.png"])
def test_20_a_minus_that_may_be_a_hyphen_is_refused(name):
    with pytest.raises(VolumeError, match=r"scan: the .-. .* may be a minus or a hyphen"):
        ordered([name.format(number) for number in range(1, 13)])


@pytest.mark.parametrize(
    "names",
    [
        [f"slice_{number}_of_24.png" for number in range(1, 25)],
        [f"img_{number:04d}_w1400.png" for number in range(24)],
        [f"img_{number}_w-600_l1400.png" for number in range(24)],
        [f"{number}_512x512.png" for number in range(98, 112)],
        [f"z{number / 4:.2f}.png" for number in range(30, 54)],
        [f"z{number / 4:g}.png" for number in range(37, 44, 2)],
        [f"z_{number / 4:.2f}.png" for number in range(-20, 20)],
        [f"p1.2.840.113.{number}.png" for number in range(1, 24)],
        [f"scan.{number}.png" for number in range(1, 24)],
        [f"{number:04d}_z{number * 1.25:.2f}.png" for number in range(1, 24)],
        [f"z{number * 1.25:.2f}_{number:04d}.png" for number in range(1, 24)],
        [f"{number}.png" for number in (7, 8, 9)] + ["0010.png", "011.png"],
    ],
    ids=lambda names: names[1],
)
def test_20b_the_number_that_runs_gives_the_order(names):
    assert ordered(names) == (names, []) or "below zero" in ordered(names)[1][0]
    assert ordered(names)[0] == names


def test_20b_slices_of_a_counted_series_are_read_in_order(tmp_path):
    folder = save(tmp_path / "scan", grey(), name="slice_{}_of_30.png")
    np.testing.assert_array_equal(
        read_volume(folder).voxels, read_slices(save(tmp_path / "plain", grey())).voxels
    )


@pytest.mark.parametrize(
    "names",
    [
        [f"{number:04d}_z{50 - number}.png" for number in range(1, 24)],
        [f"p{patient}_{number}.png" for patient in (1, 2) for number in range(12)],
        [f"s{number % 2}_{number}.png" for number in range(12)],
    ],
    ids=lambda names: names[1],
)
def test_20b_two_numbers_that_run_apart_are_refused(names):
    with pytest.raises(VolumeError, match="scan: slices are named in"):
        ordered(names)


def test_20b_the_same_number_twice_is_refused_by_both_names():
    with pytest.raises(VolumeError, match=r"5_of_9\.png and 5_of_9\.PNG|5_of_9.PNG and 5_of_9.png"):
        ordered([f"{number}_of_9.png" for number in range(1, 10)] + ["5_of_9.PNG"])


def test_a_gap_between_decimal_numbers_is_mentioned():
    names = [f"z{number:.2f}.png" for number in np.arange(10, 40, 1.25)]
    assert ordered(names[:8] + names[10:])[1] == [
        "slice numbers are missing in 1 places, first after 18.75; taken as neighbours"
    ]
