from mg3d.training.history import History

COLUMNS = ["step", "mim", "val_mim"]


def test_rows_are_on_disk_as_soon_as_they_are_added(tmp_path):
    history = History(tmp_path / "history.csv", COLUMNS)
    history.add({"step": 1, "mim": 0.5})
    assert (tmp_path / "history.csv").read_text().splitlines() == ["step,mim,val_mim", "1,0.5,"]


def test_a_continued_run_drops_what_came_after_its_checkpoint(tmp_path):
    history = History(tmp_path / "history.csv", COLUMNS)
    for step in range(1, 5):
        history.add({"step": step, "mim": step / 10})
    again = History(tmp_path / "history.csv", COLUMNS, keep_up_to=2)
    again.add({"step": 3, "mim": 0.7, "val_mim": 0.9})
    assert again.column("mim") == ([1, 2, 3], [0.1, 0.2, 0.7])
    assert again.column("val_mim") == ([3], [0.9])
    assert len((tmp_path / "history.csv").read_text().splitlines()) == 4


def test_what_a_later_row_measures_becomes_a_column(tmp_path):
    history = History(tmp_path / "history.csv", ["step"])
    history.add({"step": 1, "bce": 0.5})
    history.add({"step": 2, "bce": 0.25, "dice": 0.75})
    table = (tmp_path / "history.csv").read_text().splitlines()
    assert table == ["step,bce,dice", "1,0.5,", "2,0.25,0.75"]
    again = History(tmp_path / "history.csv", ["step"], keep_up_to=2)
    assert again.columns == ["step", "bce", "dice"]
    assert again.column("dice") == ([2], [0.75])
