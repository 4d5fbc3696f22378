"""Every notebook runs, offline and anywhere, draws its figures, and its printed answers are right.

The run is made small: parameters that set sizes get tiny values, and `check` cells, whose claims
hold for the defaults, are left out. Lessons on the same phantom find it prepared in their folder.
`.ci/run` runs every notebook as it is.
"""

import ast
import os
import re
import shutil
from pathlib import Path

import nbformat
import papermill
import pytest
from filelock import FileLock
from forked_kernels import kernels_of

from data_prep.phantom.prepare import prepare_phantom

ROOT = Path(__file__).parents[2]
ANSWER = re.compile(r"<summary>Answer</summary>.*?```python\n(.*?)```", re.S)
STUB = re.compile(r"^( *)return \.\.\.  # your code", re.M)
SMALL = {"num_patients": 32, "val_patients": 16, "total_steps": 4, "minutes": 0.05}
SMALL_IN = {
    "01a_ct_volumes": {"patient": 2},  # those before are drawn, too
    "01c_prepare_a_dataset": {"num_patients": 5, "val_patients": 2},  # five of them get damaged
    "05d_diagnosis_and_prognosis": {"num_patients": 64, "few": 8},  # a few severe ones held out
}

pytestmark = pytest.mark.slow


def tags(cell):
    return cell.metadata.get("tags", [])


def solve(notebook):
    """The notebook with every stub replaced by the answer printed below it."""
    solved = nbformat.from_dict(notebook)
    for i, cell in enumerate(solved.cells):
        if "exercise" in tags(cell):
            answer = ANSWER.search(solved.cells[i + 1].source)
            assert answer, f"no python code in the answer below cell {i}"
            body = answer[1].rstrip().splitlines()
            cell.source = STUB.sub(
                lambda stub: "\n".join(f"{stub[1]}{line}" for line in body),  # noqa: B023
                cell.source,
            )
        elif "check" in tags(cell):
            cell.source = "pass  # holds for the defaults"
    return solved


def parameters_of(notebook):
    """Names and defaults."""
    (cell,) = [cell for cell in notebook.cells if "parameters" in tags(cell)]
    return {node.target.id: ast.literal_eval(node.value) for node in ast.parse(cell.source).body}


@pytest.fixture(scope="session")
def phantom_in(tmp_path_factory, worker_id):
    """Puts the prepared phantom that a lesson will ask for into its folder; made once for all."""
    base = tmp_path_factory.getbasetemp()
    shared = base if worker_id == "master" else base.parent  # of all workers

    def put(folder, patients, val_patients, seed, preset):
        made = shared / f"phantom_{preset}_{seed}_{patients}_{val_patients}"
        with FileLock(f"{made}.lock"):
            prepare_phantom(
                made,
                patients=patients,
                val_patients=val_patients,
                seed=seed,
                preset=preset,
                workers=0,
                progress=False,
            )
        shutil.copytree(made, folder, copy_function=os.link)

    return put


@pytest.fixture(scope="module")
def run(notebook, notebook_path, tmp_path_factory, phantom_in):
    """The executed notebook, started in an empty folder that holds nothing but it."""
    folder = tmp_path_factory.mktemp("notebook")
    start = folder / "start"
    start.mkdir()
    nbformat.write(solve(notebook), folder / "solved.ipynb")
    defaults = parameters_of(notebook)
    small = SMALL | SMALL_IN.get(notebook_path.stem, {})
    values = {
        name: min(small[name], defaults[name]) or small[name]
        for name in small.keys() & defaults.keys()
    }  # 0: as many as the preset has
    if any("prepare_phantom(" in cell.source for cell in notebook.cells):
        names = ("num_patients", "val_patients", "seed", "preset")
        phantom_in(folder / "output" / "data", *((defaults | values)[name] for name in names))
    with kernels_of(ROOT):
        executed = papermill.execute_notebook(
            folder / "solved.ipynb",
            folder / "run.ipynb",
            parameters=values | {"output_dir": str(folder / "output")},
            cwd=start,
            progress_bar=False,
        )
    executed.metadata["left_behind"] = sorted(path.name for path in start.iterdir())
    return executed


def printed(cells, stream="stdout"):
    outputs = [output for cell in cells for output in cell.get("outputs", [])]
    return "".join(o.get("text", "") for o in outputs if o.get("name") == stream)


def test_the_printed_answers_solve_the_exercises(run):
    exercises = [cell for cell in run.cells if "exercise" in tags(cell)]
    text = printed(exercises)
    assert "✗" not in text and "○" not in text, text
    assert text.count("✓") >= len(exercises)


def test_every_figure_is_drawn(run):
    for cell in run.cells:
        if "figure" in tags(cell):
            kinds = {kind for output in cell.outputs for kind in output.get("data", {})}
            assert kinds & {"image/png", "text/html"}, f"no figure: {cell.source}"


def test_nothing_litters_the_output(run):
    assert printed(run.cells, "stderr") == ""


def test_nothing_is_written_but_into_the_output_folder(run):
    assert run.metadata["left_behind"] == []
