"""docs/training.md says what works."""

import re
from pathlib import Path

import pytest

from mg3d.training.environment import UNSUPPORTED
from mg3d.training.run_folder import RunFolder

DOCS = Path(__file__).parents[2] / "docs" / "training.md"


@pytest.fixture
def text():
    return DOCS.read_text()


def test_the_loop_of_your_own_runs_as_printed_and_goes_on(text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (code,) = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    names: dict[str, object] = {}
    exec(code, names)
    assert names["steps"] == list(range(1, 31))
    assert RunFolder(Path("runs/mine"), resume=True).find() is not None
    exec(code, names)  # a finished run takes no further step
    assert names["steps"] == list(range(1, 31))


def test_every_variable_that_is_refused_is_listed(text):
    listed = set(re.findall(r"`(ACCELERATE_\w+|_[A-Z_]+)`", text))
    full = {name if name.startswith("ACC") else f"ACCELERATE_USE{name}" for name in listed}
    assert set(UNSUPPORTED) <= full


def test_every_file_of_a_run_folder_is_listed(text, tmp_path):
    import torch

    module = torch.nn.Linear(1, 1)
    folder = RunFolder(tmp_path, settings={"seed": 0})
    from mg3d.training.fit import fit

    fit(
        module,
        lambda m, b: {"loss": m(b).sum()},
        lambda steps: (torch.ones(1, 1) for _ in steps),
        torch.optim.SGD(module.parameters(), lr=0.1),
        steps=1,
        measure=lambda: {"weight": float(module.weight.detach())},
        folder=folder,
    )
    for path in tmp_path.iterdir():
        assert f"`{path.name}{'/' if path.is_dir() else ''}`" in text
