"""The documented calls are understood, and a user's way from files to a figure runs as printed."""

import csv
import importlib
import re
import shlex
from contextlib import redirect_stdout
from pathlib import Path

import nibabel
import pytest

from mg3d.evaluation.__main__ import read_call
from mg3d.evaluation.tasks.registry import TASKS

DOCS = Path(__file__).parents[3] / "docs"
CALLS = DOCS / "downstream_calls.md"
LINES = [
    line
    for block in re.findall(r"```bash\n(.*?)```", CALLS.read_text("utf-8"), flags=re.S)
    for line in block.splitlines()
]
EVALUATIONS = [line for line in LINES if "mg3d.evaluation" in line]


def task_call(line):
    """Arguments of the task in a line, and how many processes run it."""
    words = shlex.split(line)
    if words[0] == "python":
        assert words[1:3] == ["-m", "mg3d.evaluation"]
        return words[3:], 1
    from torch.distributed.run import parse_args

    assert words[0] == "torchrun"
    asked = parse_args(words[1:])
    assert asked.module and asked.training_script == "mg3d.evaluation"
    return asked.training_script_args, int(asked.nproc_per_node)


@pytest.mark.parametrize("line", EVALUATIONS)
def test_a_documented_call_is_understood(line):
    arguments, processes = task_call(line)
    name, call, config = read_call(arguments)
    assert name in TASKS
    assert str(call.data) in {shlex.split(one)[-1] for one in LINES if "data_prep" in one}
    assert config.finetune.batch_size % processes == 0


def test_every_task_of_a_data_set_has_a_call_for_one_gpu_and_for_several():
    by = {1: set(), 4: set()}
    for line in EVALUATIONS:
        arguments, processes = task_call(line)
        by[processes].add(arguments[0])
    assert by[1] == set(TASKS) - {"segmentation"}  # of any data set
    assert by[4] == by[1]


@pytest.mark.parametrize("line", [line for line in LINES if "data_prep" in line])
def test_a_documented_import_is_understood(line, capsys):
    words = shlex.split(line)
    main = importlib.import_module(words[2]).main
    assert main([*words[3:-1], "/nowhere/to/write"]) == 2  # there is no such source here
    assert words[words.index("--source") + 1] in capsys.readouterr().err


def test_a_users_way_runs_as_printed(tmp_path, monkeypatch):
    text = (DOCS / "downstream.md").read_text("utf-8")
    section = text.split("<!-- a user's way -->")[1]
    bash, code = re.findall(r"```(?:bash|python)\n(.*?)```", section, flags=re.S)[:2]
    monkeypatch.chdir(tmp_path)
    for line in bash.splitlines():
        words = shlex.split(line)
        out = Path(words[-1]) if words[-2] == ">" else tmp_path / "said.txt"
        words = words[:-2] if words[-2] == ">" else words
        module = words[2]
        if module in ("mg3d.evaluation", "data_prep.phantom.layouts"):
            module += ".__main__"
        with out.open("w") as file, redirect_stdout(file):
            assert not importlib.import_module(module).main(words[3:])
    exec(code, {})
    with Path("ledger.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["task"] for row in rows} == {"luna16", "msd_lung"}
    assert all(row["value"] for row in rows if row["metric"] in ("auroc", "dice"))
    masks = sorted(Path("runs/msd_lung/predictions/val").glob("*.nii.gz"))
    for mask in masks:
        image = nibabel.load(Path("raw/msd/Task06_Lung/imagesTr") / mask.name)
        assert nibabel.load(mask).shape == image.shape
    for figure in ("luna16.png", "msd_lung.png"):
        assert Path(figure).stat().st_size > 10_000
