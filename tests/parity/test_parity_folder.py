"""The folder of cases: every one has an adapter, and adapters know no case by heart."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import unseen
from cases_of import KINDS, Case, cases, folder, kind_of, names

HERE = Path(__file__).parent


@pytest.mark.parametrize("name", names(""))
def test_every_case_is_whole_and_of_a_kind_that_has_an_adapter(name):
    assert name in cases(kind_of(name))
    outputs = Case(name).description["outputs"]
    stored = {key.partition("::")[0] for key in Case(name).expected}
    assert stored - set(outputs) <= {"grad_norm/values"}
    assert set(outputs) <= stored


def test_the_folder_is_not_empty():
    assert names(""), f"{folder()} holds no case; name a folder of cases in MG3D_PARITY_DIR"


def test_the_copy_in_the_repository_has_every_kind():
    kinds = {path.name.partition("_")[0] for path in (HERE / "cases").glob("*.json")}
    assert kinds == set(KINDS)


@pytest.fixture
def empty(tmp_path, monkeypatch):
    monkeypatch.setenv("MG3D_PARITY_DIR", str(tmp_path))
    return tmp_path


def test_a_kind_without_an_adapter_is_refused(empty):
    (empty / "z_other.json").write_text(json.dumps({"params": {}, "inputs": {}, "outputs": {}}))
    with pytest.raises(ValueError, match=r"z_other.*starts with one of a, b.*write an adapter"):
        kind_of("z_other")


@pytest.mark.parametrize("kind", KINDS)
def test_a_name_that_does_not_fit_its_content_is_refused(empty, kind):
    name = f"{kind}_misnamed"
    (empty / f"{name}.json").write_text(json.dumps({"params": {}, "inputs": {}, "outputs": {}}))
    with pytest.raises(ValueError, match=f"says kind {kind}, but its JSON does not hold"):
        kind_of(name)


def run(where):
    """The adapters of all kinds on another folder, as a user would run them."""
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", str(HERE),
         "-k", "not have_not_seen"],
        cwd=HERE.parents[1], env=os.environ | {"MG3D_PARITY_DIR": str(where)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.thorough
def test_adapters_pass_on_cases_they_have_not_seen_and_fail_on_wrong_ones(tmp_path):
    made = unseen.write_all(tmp_path)
    done = run(tmp_path)
    assert done.returncode == 0 and "skipped" not in done.stdout, done.stdout[-3000:]

    expected = dict(np.load(tmp_path / f"{made[-1]}.npz"))
    np.savez(tmp_path / f"{made[-1]}.npz", **expected | {"ssm": expected["ssm"] + 1e-4})
    shutil.copy(tmp_path / f"{made[0]}.json", tmp_path / "q_unknown.json")
    shutil.copy(tmp_path / f"{made[0]}.npz", tmp_path / "q_unknown.npz")
    wrong = run(tmp_path)
    assert wrong.returncode == 1
    failed = {line.split(" - ")[0] for line in wrong.stdout.splitlines() if line[:6] == "FAILED"}
    assert len(failed) == 2, wrong.stdout[-3000:]
    assert any("contrastive_losses" in line for line in failed)
    assert any("q_unknown" in line for line in failed)
