import shlex

import pandas as pd
import pytest

from mg3d.experiments import results
from mg3d.experiments.results import (
    FOLDER,
    PANELS,
    SOURCES,
    load_ablation,
    load_results,
    main,
    mean_over_seeds,
)

ABLATIONS = [name for name in SOURCES if name.startswith("ablation")]


@pytest.mark.parametrize("name", ABLATIONS)
def test_a_stored_table_says_how_it_was_measured(name):
    table = load_results(name)
    assert len(table)
    assert {"configuration", "seeds", "steps", "patients"} <= set(table.columns)
    assert (table["seeds"] >= 1).all()
    assert not table.duplicated(["configuration", "steps", "patients"]).any()
    assert table.notna().all(axis=None)


@pytest.mark.parametrize("name", SOURCES)
def test_the_command_that_makes_a_table_again_exists(name, repository):
    python, flag, module, *_ = SOURCES[name].split()
    assert (python, flag) == ("python", "-m")
    assert repository.joinpath(*module.split(".")).with_suffix(".py").is_file()


def test_the_scaling_grid_is_whole_for_every_seed_and_one_row_a_run():
    table = load_results("scaling_tiny")
    asked = shlex.split(SOURCES["scaling_tiny"])
    values = {
        option: asked[asked.index(option) + 1 :][:count]
        for option, count in (("--sizes", 3), ("--patients", 4), ("--steps", 1))
    }
    cells = {(size, int(n)) for size in values["--sizes"] for n in values["--patients"]}
    for _, part in table.groupby("seed"):
        assert set(zip(part["size"], part["patients"], strict=True)) == cells
    assert not table.duplicated(["size", "patients", "seed"]).any()
    assert set(table["steps"]) == {int(values["--steps"][0])}
    assert set(table["objectives"]) == {"only clip"}
    assert table.notna().all(axis=None)


def test_the_scaling_grid_costs_more_with_every_size_and_never_with_more_patients():
    table = load_results("scaling_tiny")
    costs = table.groupby("size")[["parameters", "training_operations"]]
    assert (costs.nunique()["parameters"] == 1).all()
    mean = costs.mean().loc[["s", "m", "l"]]
    assert mean["parameters"].is_monotonic_increasing
    assert mean["training_operations"].is_monotonic_increasing
    spread = costs.max()["training_operations"] / costs.min()["training_operations"]
    assert (spread < 1.05).all()  # first batches differ by the length of their reports
    assert (table["samples_seen"] == table["steps"] * 16).all()
    assert table["held_out_patients"].nunique() == 1
    assert (table["loss_clip_best"] <= table["loss_clip"]).all()


def test_every_stored_file_has_a_source():
    assert {path.stem for path in FOLDER.glob("*.csv")} == set(SOURCES)


def test_an_unknown_table_is_refused_with_those_there_are():
    with pytest.raises(ValueError, match=r"stored results are .*ablation_tiny.*; got 'nothing'"):
        load_results("nothing")


def test_the_ablation_has_one_row_per_configuration_and_score(tmp_path, monkeypatch):
    scores = [f"{score}{end}" for score in PANELS for end in ("", "_low", "_high")]
    (tmp_path / "ablation_tiny.csv").write_text(
        f"configuration,group,seeds,steps,patients,{','.join(scores)}\n"
        "six,a,3,600,640,0.7,0.6,0.8,0.3,0.2,0.4\n"
        "only mim,b,3,600,640,0.5,0.4,0.6,0.1,0.0,0.2\n"
    )
    monkeypatch.setattr(results, "FOLDER", tmp_path)
    table = load_ablation()
    assert len(table) == 4
    row = table[(table["configuration"] == "only mim") & table["score"].str.contains("Recall")]
    (row,) = row.to_dict("records")
    assert (row["value"], row["low"], row["high"], row["group"]) == (0.1, 0.0, 0.2, "b")
    assert (row["steps"], row["patients"]) == (600, 640)


@pytest.mark.parametrize("name", ABLATIONS)
def test_a_stored_table_can_be_drawn(name):
    table = load_ablation(name)
    assert set(table["score"]) == set(PANELS.values())
    assert ((table["low"] <= table["value"]) & (table["value"] <= table["high"])).all()
    assert table["value"].between(0, 1).all()


def rows_of(value, *, seed=0, steps=5, patients=9):
    """One finished run as an experiment prints it, with every score at `value`."""
    run = {"configuration": "only clip", "group": "together", "seed": seed, "steps": steps}
    run["run"] = f"{seed}-{steps}-{patients}"
    scores = ("probe_macro_auroc", "probe_gain", "retrieval_recall_at_5")
    rows = [
        run | {"score": score, "value": value, "low": value - 0.1, "high": value + 0.1, "n": 4}
        for score in (*scores, *(f"{s}_untrained" for s in scores))
    ]
    sizes = {"training_patients": patients, "held_out_patients": 4}
    return rows + [run | {"score": size, "value": number} for size, number in sizes.items()]


def test_runs_of_other_length_or_size_are_rows_of_their_own():
    runs = [*rows_of(0.6), *rows_of(0.7, steps=15), *rows_of(0.8, steps=15, patients=27)]
    table = mean_over_seeds(pd.DataFrame(runs))
    keys = ["configuration", "steps", "patients", "probe_macro_auroc"]
    assert table[keys].values.tolist() == [
        ["only clip", 5, 9, 0.6],
        ["only clip", 15, 9, 0.7],
        ["only clip", 15, 27, 0.8],
        ["untrained", 0, 9, 0.6],
        ["untrained", 0, 27, 0.8],
    ]


def test_the_table_is_the_mean_over_seeds(tmp_path, capsys):
    for seed, value in ((0, 0.6), (1, 0.8)):
        pd.DataFrame(rows_of(value, seed=seed)).to_csv(tmp_path / f"{seed}.csv", index=False)

    main([str(tmp_path / "0.csv"), str(tmp_path / "1.csv")])

    header, clip, untrained = capsys.readouterr().out.splitlines()
    row = dict(zip(header.split(","), clip.split(","), strict=True))
    assert (row["group"], row["seeds"], row["steps"]) == ("together", "2", "5")
    assert float(row["probe_macro_auroc"]) == pytest.approx(0.7)
    assert float(row["probe_macro_auroc_low"]) == pytest.approx(0.6)
    assert untrained.startswith("untrained,together,2,0,")


def test_a_stored_table_has_the_columns_that_are_made_again():
    made = mean_over_seeds(pd.DataFrame(rows_of(0.6)))
    for name in ABLATIONS:
        assert list(load_results(name).columns) == list(made.columns)
