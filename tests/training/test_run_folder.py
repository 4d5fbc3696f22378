import json
import os

import pytest
import torch
from torch import nn

from mg3d.training.checkpoint import Progress
from mg3d.training.run_folder import RunFolder


@pytest.fixture
def learner():
    module = nn.Linear(2, 1)
    return module, torch.optim.SGD(module.parameters())


def test_a_folder_with_a_run_is_neither_overwritten_nor_continued_by_accident(tmp_path, learner):
    assert RunFolder(tmp_path / "a").find() is None
    RunFolder(tmp_path / "a").save(*learner, Progress(3, 0.0))
    with pytest.raises(FileExistsError, match=r"resume=True.*overwrite=True"):
        RunFolder(tmp_path / "a").find()
    assert RunFolder(tmp_path / "a", overwrite=True).find() is None
    assert RunFolder(tmp_path / "a", resume=True).find() == tmp_path / "a" / "checkpoint"
    assert RunFolder(tmp_path / "a", resume=True).load(*learner) == Progress(3, 0.0)
    assert RunFolder(tmp_path / "a", overwrite=True).load(*learner) == Progress(0, 0.0)


def test_settings_are_written_beside_the_results_and_compared(tmp_path, learner):
    folder = RunFolder(tmp_path, settings={"seed": 3, "workers": 0})
    folder.begin({"mse": 0.5}, afresh=True)
    assert json.loads((tmp_path / "config.json").read_text()) == {"seed": 3, "workers": 0}
    assert folder.initial() == {"mse": 0.5}
    folder.save(*learner, Progress(1, 0.0))
    with pytest.raises(ValueError, match="seed was 3, now 4"):
        RunFolder(tmp_path, settings={"seed": 4, "workers": 0}, resume=True).load(*learner)
    other = RunFolder(tmp_path, settings={"seed": 3, "workers": 2}, resume=True, free={"workers"})
    assert other.load(*learner).step == 1


def test_a_folder_that_cannot_be_made_is_said_in_one_line(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(OSError, match="the run folder could not be written") as caught:
        RunFolder(tmp_path / "file" / "run").find()
    message = str(caught.value)
    assert "(Not a directory); there is no checkpoint to continue from" in message
    assert "\n" not in message


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write all")
def test_a_folder_without_the_right_to_write_is_said(tmp_path, learner):
    RunFolder(tmp_path / "a").save(*learner, Progress(2, 0.0))
    (tmp_path / "a").chmod(0o500)
    try:
        with pytest.raises(OSError, match=r"Permission denied\); the checkpoint of step 2 is kept"):
            RunFolder(tmp_path / "a").save(*learner, Progress(3, 0.0))
    finally:
        (tmp_path / "a").chmod(0o700)


def test_a_target_that_refuses_the_checkpoint_keeps_the_last_one(tmp_path, learner, monkeypatch):
    RunFolder(tmp_path / "a").save(*learner, Progress(2, 0.0))

    def read_only(*_):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("mg3d.training.checkpoint.save_model", read_only)
    with pytest.raises(OSError, match="Read-only file system") as caught:
        RunFolder(tmp_path / "a").save(*learner, Progress(3, 0.0))
    assert "the checkpoint of step 2 is kept" in str(caught.value)
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["checkpoint"]
    monkeypatch.undo()
    assert RunFolder(tmp_path / "a", resume=True).load(*learner).step == 2


def test_the_lock_of_a_folder_is_free_after_an_error(tmp_path):
    folder = RunFolder(tmp_path)
    with pytest.raises(KeyError), folder.only_writer():
        raise KeyError("any")
    with folder.only_writer(), pytest.raises(FileExistsError, match="by another run"):
        folder.only_writer().__enter__()
