"""The control gives every training patient somebody else's report, and changes nothing else."""

import pandas as pd

from mg3d.experiments.reports import shuffle_reports


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
