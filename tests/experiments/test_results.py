import pytest

from mg3d.experiments import results
from mg3d.experiments.results import FOLDER, PANELS, SOURCES, load_ablation, load_results


@pytest.mark.parametrize("name", SOURCES)
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


def test_every_stored_file_has_a_source():
    assert {path.stem for path in FOLDER.glob("*.csv")} == set(SOURCES)


def test_an_unknown_table_is_refused_with_those_there_are():
    with pytest.raises(ValueError, match=r"stored results are ablation_tiny, .*; got 'scaling'"):
        load_results("scaling")


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


@pytest.mark.parametrize("name", SOURCES)
def test_a_stored_table_can_be_drawn(name):
    table = load_ablation(name)
    assert set(table["score"]) == set(PANELS.values())
    assert ((table["low"] <= table["value"]) & (table["value"] <= table["high"])).all()
    assert table["value"].between(0, 1).all()
