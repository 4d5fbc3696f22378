import argparse
from pathlib import Path

import pytest

from mg3d.config import find_preset
from mg3d.experiments.ablation import (
    PAPER,
    ablation_points,
    configurations,
    group_of,
    matches,
)


@pytest.fixture
def rows():
    return configurations(find_preset("tiny"))


def test_each_of_the_six_is_left_out_once_and_stands_alone_once(rows):
    for name in PAPER:
        left = set(rows[f"six without {name}"].weights.active())
        assert left == set(PAPER) - {name}
        assert set(rows[f"only {name}"].weights.active()) == {name}


def test_every_row_differs_from_every_other(rows):
    assert len(set(map(str, rows.values()))) == len(rows)


def test_a_departure_put_back_changes_no_objective(rows):
    put_back = [name for name in rows if group_of(name) == "one setting as in the paper"]
    assert len(put_back) == 6
    assert all(rows[name].weights == rows["six + clip"].weights for name in put_back)
    assert all(rows[name] != rows["six + clip"] for name in put_back)


def test_a_whole_name_asks_for_one_row_and_a_piece_for_all_that_hold_it(rows):
    def asked(part):
        return [name for name in rows if matches(part, name, rows)]

    assert asked("six + clip") == ["six + clip"]
    assert asked("only clip") == ["only clip"]
    assert asked("without") == [f"six without {name}" for name in PAPER]


def asked(**other):
    given = {"preset": "tiny", "steps": 200, "seeds": [0, 1], "only": ["only clip"]}
    given |= {"data": Path("prepared"), "reports": ["own"]} | other
    return argparse.Namespace(**given)


def test_a_grid_has_each_row_for_each_seed_and_each_kind_of_reports():
    points = ablation_points(asked(reports=["own", "other patients'"]))
    rows = [tuple(point.columns.values()) for point in points]
    assert rows == [
        ("only clip", "together", "own", 0, 200),
        ("only clip, reports shuffled", "control", "other patients'", 0, 200),
        ("only clip", "together", "own", 1, 200),
        ("only clip, reports shuffled", "control", "other patients'", 1, 200),
    ]
    assert len({str(point.settings) for point in points}) == 4


def test_a_row_that_is_not_there_is_refused_with_those_there_are():
    with pytest.raises(ValueError, match=r"no configuration is called .*six \+ clip, only clip"):
        ablation_points(asked(only=["only ssim"]))
