"""Runs are made once, kept, shared out, and come back as one tidy table."""

import json
import subprocess
import sys

import pytest
from filelock import FileLock

from mg3d.evaluation.metrics import Score
from mg3d.experiments.grid import (
    Point,
    RunsFailedError,
    make_run,
    run_grid,
    table_of,
    work_side_by_side,
)

MADE = []


def double(point, folder):
    """A run that takes no time."""
    MADE.append(point.settings["number"])
    value = float(point.settings["number"])
    return {"twice": Score(2 * value, value, 3 * value, 7), "seconds": 1.5}


@pytest.fixture(autouse=True)
def nothing_made():
    MADE.clear()


@pytest.fixture
def points(prepared_data):
    return [
        Point(settings={"number": n}, data=prepared_data, columns={"configuration": f"row {n}"})
        for n in range(4)
    ]


@pytest.fixture
def prepared_data(tmp_path):
    folder = tmp_path / "prepared"
    folder.mkdir()
    (folder / "dataset.json").write_text(json.dumps({"voxels_sha256": "abc", "settings": {}}))
    (folder / "manifest.csv").write_text("volume_id\na\n")
    return folder


def test_the_table_has_one_row_a_run_and_score(points, tmp_path):
    table = run_grid(points[:2], double, tmp_path / "runs", log=lambda _: None)
    expected = ["configuration", "run", "score", "value", "low", "high", "n"]
    assert list(table.columns) == expected
    assert table["configuration"].tolist() == ["row 0", "row 0", "row 1", "row 1"]
    second = table[(table["configuration"] == "row 1") & (table["score"] == "twice")].iloc[0]
    assert (second["value"], second["low"], second["high"], second["n"]) == (2.0, 1.0, 3.0, 7)
    plain = table[table["score"] == "seconds"]
    assert plain["value"].tolist() == [1.5, 1.5]
    assert plain["low"].isna().all()


def test_a_second_call_loads_and_says_so(points, tmp_path):
    first = run_grid(points, double, tmp_path / "runs", log=lambda _: None)
    said = []
    second = run_grid(points, double, tmp_path / "runs", log=said.append)
    assert MADE == [0, 1, 2, 3]
    assert first.equals(second)
    assert len(said) == 4
    assert all("not made again" in line for line in said)


def test_other_data_makes_other_runs(points, tmp_path, prepared_data):
    run_grid(points[:1], double, tmp_path / "runs", log=lambda _: None)
    (prepared_data / "manifest.csv").write_text("volume_id\nb\n")
    run_grid(points[:1], double, tmp_path / "runs", log=lambda _: None)
    assert MADE == [0, 0]


def test_columns_decide_nothing(points, tmp_path):
    renamed = Point(settings={"number": 0}, data=points[0].data, columns={"configuration": "new"})
    run_grid(points[:1], double, tmp_path / "runs", log=lambda _: None)
    table = run_grid([renamed], double, tmp_path / "runs", log=lambda _: None)
    assert MADE == [0]
    assert table["configuration"].tolist() == ["new", "new"]


def test_parts_of_a_job_array_cover_the_grid_once(points, tmp_path):
    for part in (1, 2, 3):
        run_grid(points, double, tmp_path / "runs", part=(part, 3), log=lambda _: None)
    assert sorted(MADE) == [0, 1, 2, 3]


def test_a_part_that_is_none_is_refused(points, tmp_path):
    with pytest.raises(ValueError, match=r"1 <= i <= n, got 4/3"):
        run_grid(points, double, tmp_path / "runs", part=(4, 3))


def test_two_equal_runs_in_a_grid_are_refused_by_name(points, tmp_path):
    with pytest.raises(ValueError, match=r"run 3 .*row 0"):
        run_grid([*points[:2], points[0]], double, tmp_path / "runs")


def test_a_run_that_broke_is_made_again_in_its_folder(points, tmp_path):
    def break_once(point, folder):
        MADE.append("tried")
        if not (folder / "left_behind").exists():
            (folder / "left_behind").write_text("half")
            raise FloatingPointError("loss is NaN")
        return {"value": 1.0}

    with pytest.raises(FloatingPointError):
        make_run(points[0], break_once, tmp_path / "runs", log=lambda _: None)
    assert table_of(points[:1], break_once, tmp_path / "runs", log=lambda _: None).empty
    assert make_run(points[0], break_once, tmp_path / "runs", log=lambda _: None)
    assert MADE == ["tried", "tried"]


def test_a_run_that_another_process_is_making_is_left_to_it(points, tmp_path):
    run = tmp_path / "runs" / points[0].name(double)
    run.mkdir(parents=True)
    said = []
    with FileLock(run / ".lock"):
        assert make_run(points[0], double, tmp_path / "runs", log=said.append) is None
    assert MADE == []
    assert "another process" in said[0]
    table = run_grid(points[:1], double, tmp_path / "runs", log=said.append)
    assert len(table) == 2


def test_a_missing_run_is_said(points, tmp_path):
    said = []
    run_grid(points, double, tmp_path / "runs", part=(1, 4), log=said.append)
    assert said[-1].startswith("3 runs of the grid are not finished")


def test_a_score_that_is_undefined_is_kept_as_empty(points, tmp_path):
    def undefined(point, folder):
        return {"auroc": Score(float("nan"), float("nan"), float("nan"), 3)}

    table = run_grid(points[:1], undefined, tmp_path / "runs", log=lambda _: None)
    assert table["value"].isna().all()
    assert table["n"].tolist() == [3]


def test_a_process_that_fails_is_not_overlooked():
    with pytest.raises(subprocess.CalledProcessError):
        work_side_by_side(["mg3d.no_such_module"], 2)
    assert sys.executable


def test_a_run_that_fails_keeps_no_other_from_being_made(points, tmp_path):
    def one_fails(point, folder):
        if point.settings["number"] == 1:
            raise FloatingPointError("loss is NaN")
        return double(point, folder)

    said = []
    with pytest.raises(RunsFailedError, match=r"1 runs .* first row 1 \(loss is NaN\)") as caught:
        run_grid(points, one_fails, tmp_path / "runs", log=said.append)
    assert MADE == [0, 2, 3]
    assert caught.value.table["configuration"].unique().tolist() == ["row 0", "row 2", "row 3"]
    assert "row 1: failed (loss is NaN)" in said


def test_a_failed_run_of_one_process_stops_none_beside_it(tmp_path, monkeypatch):
    (tmp_path / "ends_with_3.py").write_text("raise SystemExit(3)")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    work_side_by_side(["ends_with_3"], 2)
