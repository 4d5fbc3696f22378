import json

import pandas as pd
import pytest

from mg3d.config import find_preset
from mg3d.experiments.ablation import (
    PAPER,
    configurations,
    group_of,
    means,
    shuffle_reports,
    write_table,
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
    put_back = [name for name in rows if group_of(name) == "a setting put back"]
    assert len(put_back) == 6
    assert all(rows[name].weights == rows["six + clip"].weights for name in put_back)
    assert all(rows[name] != rows["six + clip"] for name in put_back)


def test_shuffled_reports_are_all_there_and_none_is_the_own(tmp_path, write_patients):
    own = write_patients(tmp_path / "own", ["train"] * 9 + ["val"] * 3, 2)
    (tmp_path / "given").mkdir()
    shuffle_reports(own, tmp_path / "given", seed=3)
    before, after = (pd.read_csv(tmp_path / name / "manifest.csv") for name in ("own", "given"))
    texts = ["findings", "impression"]
    assert before.drop(columns=texts).equals(after.drop(columns=texts))
    train = before["split"] == "train"
    assert before[~train].equals(after[~train])
    assert not (before.loc[train, "findings"] == after.loc[train, "findings"]).any()
    pairs = (set(table.loc[train, texts].itertuples(index=False)) for table in (before, after))
    assert next(pairs) == next(pairs)
    one_each = after[train].groupby("patient_id")["findings"].nunique()
    assert (one_each == 1).all()  # all volumes of a patient got the same one
    assert (tmp_path / "given" / after["volume"][0]).is_file()


def line_of(value, **facts):
    """One finished run, as `--one` prints it, with every score at `value`."""
    line = {"configuration": "only clip", "seed": 0, "steps": 5, "patients": 9} | facts
    line["held_out_patients"] = 4
    scores = ("probe_macro_auroc", "probe_gain", "retrieval_recall_at_5")
    for score in (*scores, *(f"{s}_untrained" for s in scores)):
        line |= {score: value, f"{score}_interval": [value - 0.1, value + 0.1]}
    return json.dumps(line)


def test_runs_of_other_length_or_size_are_rows_of_their_own(tmp_path):
    runs = [line_of(0.6), line_of(0.7, steps=15), line_of(0.8, steps=15, patients=27)]
    (tmp_path / "runs.jsonl").write_text("\n".join(runs))
    write_table(tmp_path / "runs.jsonl", tmp_path / "table.csv")
    table = pd.read_csv(tmp_path / "table.csv")
    keys = ["configuration", "steps", "patients", "probe_macro_auroc"]
    assert table[keys].values.tolist() == [
        ["only clip", 5, 9, 0.6],
        ["only clip", 15, 9, 0.7],
        ["only clip", 15, 27, 0.8],
        ["untrained", 0, 9, 0.6],
        ["untrained", 0, 27, 0.8],
    ]


def test_a_whole_name_asks_for_one_row_and_a_piece_for_all_that_hold_it(rows):
    def asked(part):
        return [name for name in rows if means(part, name, rows)]

    assert asked("six + clip") == ["six + clip"]
    assert asked("only clip") == ["only clip"]
    assert asked("without") == [f"six without {name}" for name in PAPER]


def test_the_table_is_the_mean_over_seeds(tmp_path):
    runs = [line_of(value, seed=seed) for seed, value in ((0, 0.6), (1, 0.8))]
    (tmp_path / "runs.jsonl").write_text("\n".join(runs))

    write_table(tmp_path / "runs.jsonl", tmp_path / "table.csv")

    header, clip, untrained = (tmp_path / "table.csv").read_text().splitlines()
    row = dict(zip(header.split(","), clip.split(","), strict=True))
    assert (row["group"], row["seeds"], row["steps"]) == ("together", "2", "5")
    assert float(row["probe_macro_auroc"]) == pytest.approx(0.7)
    assert float(row["probe_macro_auroc_low"]) == pytest.approx(0.6)
    assert untrained.startswith("untrained,together,2,0,")
