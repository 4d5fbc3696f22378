"""The commands of all experiments: one CSV on stdout, one line and status 2 for a wrong call."""

import io
import json

import pandas as pd
import pytest

from mg3d.experiments.command import grid_parser, run_experiment
from mg3d.experiments.grid import Point


def work(point, folder):
    if point.settings["seed"] == 13:
        raise FloatingPointError("loss is NaN")
    return {"score": 2.0 * point.settings["seed"]}


def points(asked):
    return [
        Point(settings={"seed": seed}, data=asked.data, columns={"seed": seed})
        for seed in asked.seeds
    ]


@pytest.fixture
def call(tmp_path):
    data = tmp_path / "prepared"
    data.mkdir()
    (data / "manifest.csv").write_text("volume_id\na\n")
    (data / "dataset.json").write_text(json.dumps({"voxels_sha256": "a", "settings": {}}))
    given = ["--data", str(data), "--runs", str(tmp_path / "runs")]

    def run(*more):
        parser = grid_parser("mg3d.experiments.none", "What it is.")
        run_experiment(parser, points, work, [*given, *more])

    return run


def test_stdout_is_one_tidy_table_and_the_rest_goes_to_stderr(call, capsys):
    call("--seeds", "1", "2")
    said = capsys.readouterr()
    table = pd.read_csv(io.StringIO(said.out))
    assert table["seed"].tolist() == [1, 2]
    assert table["value"].tolist() == [2.0, 4.0]
    assert said.err.count("made in") == 2


def test_a_job_of_an_array_makes_its_own_runs_only(call, capsys):
    call("--seeds", "1", "2", "3", "--point", "2/3")
    said = capsys.readouterr()
    assert pd.read_csv(io.StringIO(said.out))["seed"].tolist() == [2]
    assert "2 runs of the grid are not finished" in said.err


@pytest.mark.parametrize(
    "more, names",
    [
        (["--point", "4/3"], "--point"),
        (["--point", "half"], "--point"),
        (["--parallel", "0"], "--parallel"),
        (["--steps", "-1"], "--steps"),
        (["--preset", "tny"], "--preset"),
        (["--seeds", "1", "1"], "same settings"),
        (["--data", "nowhere"], "nowhere has none"),
    ],
)
def test_a_wrong_call_exits_with_2_and_names_what_is_wrong(call, capsys, more, names):
    with pytest.raises(SystemExit) as stopped:
        call(*more)
    assert stopped.value.code == 2
    said = capsys.readouterr()
    assert names in said.err.splitlines()[-1]
    assert not said.out


def test_a_run_that_fails_is_one_line_and_status_3_beside_the_table_of_the_others(call, capsys):
    with pytest.raises(SystemExit) as stopped:
        call("--seeds", "13", "2")
    assert stopped.value.code == 3
    said = capsys.readouterr()
    assert pd.read_csv(io.StringIO(said.out))["seed"].tolist() == [2]
    assert "error: 1 runs of the grid failed, first 13 (loss is NaN)" in said.err.splitlines()[-1]
