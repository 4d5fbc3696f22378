"""What a histogram gives away: a sign of its own density, and nothing of a sign's place."""

import numpy as np
import pytest

from mg3d.data.labels import CT_RATE_FINDINGS
from mg3d.experiments.shortcuts import histogram, main, shortcut_scores


def people(count, seed):
    """Volumes with two signs: bright voxels (0), and a bright half (1: above, else below)."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, (count, 2)).astype(float)
    features = {"histogram": []}
    for bright, above in labels:
        volume = rng.uniform(0.2, 0.3, (8, 8, 8))
        volume[slice(0, 4) if above else slice(4, 8)] += 0.2
        if bright:
            volume[[0, 7], 0] = 0.9  # as many in each half
        features["histogram"].append(histogram(volume))
    return {name: np.stack(rows) for name, rows in features.items()}, labels


def test_amounts_give_a_density_away_but_not_a_place():
    scores = shortcut_scores(people(200, 0), people(200, 1), ("bright", "above"), draws=200)
    bright, above = scores["histogram", "bright"], scores["histogram", "above"]
    assert bright.value == 1
    assert above.low < 0.5 < above.high
    assert bright.n == above.n == 200


def test_a_histogram_holds_every_voxel_once():
    volume = np.array([0.0, 0.01, 0.5, 1.0]).reshape(2, 2, 1)
    shares = histogram(volume, bins=4)
    assert shares.tolist() == [0.5, 0.0, 0.25, 0.25]


def test_the_command_prints_a_row_for_each_description_and_finding(prepared, capsys):
    assert main(["--data", str(prepared)]) == 0
    header, *rows = capsys.readouterr().out.splitlines()
    assert header.startswith("description,finding,auroc,low,high,positives,patients")
    assert len(rows) == 2 * len(CT_RATE_FINDINGS)


@pytest.mark.parametrize("split", ["test"])
def test_a_split_that_is_not_there_is_named(prepared, capsys, split):
    assert main(["--data", str(prepared), "--test", split]) == 2
    assert split in capsys.readouterr().err
