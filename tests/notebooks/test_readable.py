"""Notebooks stay readable: short cells, a guess before every figure, one cell of parameters."""

import ast
import re
import subprocess
import sys

import nbformat
import pytest

TAGS = {"parameters", "figure", "widget", "exercise", "check"}
STUB = "return ...  # your code"
FORBIDDEN = {
    r"^\s*[!%]": "shell commands and magics run on one machine only",
    r"\bsys\.path\b": "mg3d is installed, not found by a path",
    r"\binput\(": "a machine runs this too",
    r"\b(get_ipython|os\.chdir)\(": "a notebook is plain Python",
    r"""["'](/|~|[A-Z]:\\)[\w./-]{2,}""": "an absolute path exists on one machine only",
    r"\bif fast\b": "a preset changes sizes, never the code path",
}


@pytest.fixture
def cells(notebook):
    return notebook.cells


def tagged(cells, tag):
    return [i for i, cell in enumerate(cells) if tag in cell.metadata.get("tags", [])]


def code(cells):
    return [cell for cell in cells if cell.cell_type == "code"]


def text(cells):
    return "\n\n".join(cell.source for cell in cells if cell.cell_type == "markdown")


def lines(cell):
    return [line for line in cell.source.splitlines() if line.strip()]


def test_is_a_valid_notebook_of_the_kernel_everyone_has(notebook):
    nbformat.validate(notebook)
    assert notebook.metadata.kernelspec.name == "python3"
    assert notebook.metadata.kernelspec.language == "python"


def test_is_saved_without_outputs(cells):
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in cells)


def test_nbstripout_has_nothing_to_strip(notebook_path):
    keys = "metadata.papermill cell.metadata.papermill metadata.language_info"
    command = [sys.executable, "-m", "nbstripout", "--verify", "--extra-keys", keys]
    done = subprocess.run([*command, str(notebook_path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_is_small(notebook_path):
    assert notebook_path.stat().st_size < 100_000


def test_tags_are_those_with_a_meaning(cells):
    assert {tag for cell in cells for tag in cell.metadata.get("tags", [])} <= TAGS


def test_a_lesson_has_its_parts(notebook_path, cells):
    number = notebook_path.stem.split("_")[0]
    assert cells[0].cell_type == "markdown" and cells[0].source.startswith(f"# {number} · ")
    prose = text(cells)
    for part in ("After this notebook you can", "You need", "What to take away", "**Next"):
        assert part in prose, f"'{part}' is missing"


def test_a_lesson_is_not_a_book(cells):
    assert len(cells) <= 80
    assert len(text(cells).split()) <= 3_500
    assert sum(len(lines(cell)) for cell in code(cells)) <= 300


def test_code_cells_are_short(cells):
    sizes = sorted(len(lines(cell)) for cell in code(cells))
    assert sizes[-1] <= 20
    assert sizes[len(sizes) // 2] <= 8


def test_code_and_text_take_turns(cells):
    kinds = "".join("c" if cell.cell_type == "code" else "t" for cell in cells)
    assert "cccc" not in kinds


def test_no_code_is_repeated_from_the_library(cells):
    count = sum(
        isinstance(node, ast.FunctionDef | ast.ClassDef)
        for cell in code(cells)
        if "exercise" not in cell.metadata.get("tags", [])
        for node in ast.walk(ast.parse(cell.source))
    )
    assert count <= 5


@pytest.mark.parametrize(("pattern", "reason"), FORBIDDEN.items(), ids=FORBIDDEN.values())
def test_runs_on_any_machine(cells, pattern, reason):
    for cell in code(cells):
        found = re.search(pattern, cell.source, re.M)
        assert not found, f"'{found[0]}': {reason}"


def test_there_is_one_cell_of_parameters_near_the_top(cells):
    (index,) = tagged(cells, "parameters")
    assert index <= 2
    following = next(cell for cell in cells[index + 1 :] if cell.cell_type == "code")
    assert len(lines(following)) <= 15, "the setup cell is longer than 15 lines"


def test_every_parameter_is_typed_plain_and_says_what_it_is(cells):
    (index,) = tagged(cells, "parameters")
    parameters = {}
    for line, node in zip(lines(cells[index]), ast.parse(cells[index].source).body, strict=True):
        assert isinstance(node, ast.AnnAssign), f"write `name: type = value  # meaning`: {line}"
        assert re.search(r"\S  # \S", line), f"say what it means: {line}"
        parameters[node.target.id] = ast.literal_eval(node.value)
    assert parameters["preset"] == "tiny"
    assert isinstance(parameters["seed"], int)


def test_every_figure_is_preceded_by_a_guess_and_followed_by_an_answer(cells):
    figures = tagged(cells, "figure")
    assert figures, "a lesson without a figure"
    assert figures[0] <= 20, "the first figure comes late"
    for i in figures:
        assert "**Before you run" in cells[i - 1].source, f"no guess before cell {i}"
        assert "?" in cells[i - 1].source, f"the guess before cell {i} is no question"
        assert "<details>" in cells[i + 1].source, f"no folded answer after cell {i}"


def test_a_projector_gets_title_questions_figures_and_answers_and_nothing_else(cells):
    expected = ["skip"] * len(cells)
    expected[0] = "slide"
    for i in tagged(cells, "figure"):
        expected[i - 1 : i + 2] = ["slide", "fragment", "fragment"]
        assert cells[i + 1].source.endswith("</details>"), f"more than the answer after cell {i}"
    kinds = [cell.metadata.get("slideshow", {}).get("slide_type") for cell in cells]
    wrong = [i for i, (kind, due) in enumerate(zip(kinds, expected, strict=True)) if kind != due]
    assert not wrong, f"cells {wrong} need slide_type {[expected[i] for i in wrong]}"


def test_a_widget_comes_after_a_figure(cells):
    widgets, figures = tagged(cells, "widget"), tagged(cells, "figure")
    assert len(widgets) <= 3
    assert all(min(figures) < i for i in widgets)


def test_exercises_have_a_stub_a_hint_and_an_answer_folded_below(cells):
    exercises = tagged(cells, "exercise")
    assert 3 <= len(exercises) <= 5
    for i in exercises:
        assert STUB in cells[i].source and "check(" in cells[i].source
        assert "### Exercise" in cells[i - 1].source and "★" in cells[i - 1].source
        below = cells[i + 1].source
        assert 0 <= below.find("<summary>Hint</summary>") < below.find("<summary>Answer</summary>")
        assert below.count("<details>") == below.count("</details>") == 2


def test_what_is_folded_unfolds(cells):
    prose = text(cells)
    assert prose.count("<details>") == prose.count("</details>") == prose.count("<summary>")
