"""Walls of the house: imports point one way, nothing heavy at the top, one idea per file."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = [
    *("config", "distributed", "modes", "volumes", "text", "weights", "data", "preparation"),
    *("phantom", "encoders", "attention", "model", "objectives", "training", "pretrained"),
    *("evaluation", "explain", "experiments", "viz", "exercises"),
]

# What makes an import slow, and the only places that may name it outside a function.
HEAVY = {
    "PIL": (),
    "accelerate": (),
    "gdcm": (),
    "huggingface_hub": (),
    "ipywidgets": ("mg3d/viz/widgets.py",),
    "matplotlib": ("mg3d/viz/",),
    "monai": (),
    "nibabel": (),
    "pandas": (),
    "pydicom": (),
    "scipy": (),
    "sklearn": (),
    "torchmetrics": (),
    "transformers": (),
    "tyro": (),
}
NO_ROOM = {"utils", "util", "helpers", "helper", "misc", "common", "tools"}
GLOBAL_SEEDS = {"torch.manual_seed", "np.random.seed", "numpy.random.seed", "random.seed"}


def sources(*folders: str) -> list[str]:
    paths = [path for folder in folders for path in (ROOT / folder).rglob("*.py")]
    return sorted(path.relative_to(ROOT).as_posix() for path in paths)


LIBRARY = sources("mg3d")
EVERYTHING = sources("mg3d", "data_prep", "benchmarks")


def tree_of(path: str) -> ast.Module:
    return ast.parse((ROOT / path).read_text(encoding="utf-8"))


def imported(nodes: Iterator[ast.AST]) -> Iterator[str]:
    """Dotted names of what is imported; `from mg3d import viz` gives mg3d.viz."""
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: write imports in full, from mg3d..."
            if node.module == "mg3d":
                yield from (f"mg3d.{alias.name}" for alias in node.names)
            else:
                yield node.module or ""


def run_at_import(node: ast.AST) -> Iterator[ast.AST]:
    """The nodes that run when a module is imported: not function bodies, not TYPE_CHECKING."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        yield child
        yield from run_at_import(child)


def room_of(path: str) -> str:
    return path.split("/")[1].removesuffix(".py")


@pytest.mark.parametrize("path", [p for p in LIBRARY if p != "mg3d/__init__.py"])
def test_imports_point_to_earlier_rooms_only(path):
    own = room_of(path)
    assert own in ROOMS, f"{own} is not a room; the rooms are {', '.join(ROOMS)}"
    for name in imported(ast.walk(tree_of(path))):
        parts = name.split(".")
        if parts[0] == "mg3d" and len(parts) > 1 and parts[1] in ROOMS:
            assert ROOMS.index(parts[1]) <= ROOMS.index(own), f"{own} must not import {name}"


@pytest.mark.parametrize("path", LIBRARY)
def test_the_library_does_not_know_its_users(path):
    for name in imported(ast.walk(tree_of(path))):
        assert name.split(".")[0] not in {"data_prep", "benchmarks", "notebooks", "tests"}, name


@pytest.mark.parametrize("path", LIBRARY)
def test_nothing_heavy_is_imported_at_the_top(path):
    for name in imported(run_at_import(tree_of(path))):
        allowed = HEAVY.get(name.split(".")[0])
        assert allowed is None or path.startswith(allowed), (
            f"{name} makes importing {path} slow; import it inside the function that needs it"
        )


def test_figures_are_made_from_arrays_and_never_run_the_model():
    for path in LIBRARY:
        if room_of(path) == "viz":
            for name in imported(ast.walk(tree_of(path))):
                assert name.startswith("mg3d.viz") or not name.startswith("mg3d."), (path, name)


@pytest.mark.parametrize("path", EVERYTHING)
def test_the_first_line_of_a_file_says_its_idea(path):
    text = ast.get_docstring(tree_of(path))
    assert text, f"{path} has no docstring"
    first = text.splitlines()[0]
    assert len(first.split()) >= 3 and first[-1] in ".?!:", f"not a sentence: {first}"


@pytest.mark.parametrize("path", EVERYTHING)
def test_a_file_is_named_after_its_idea(path):
    assert not NO_ROOM & set(Path(path).with_suffix("").parts)


@pytest.mark.parametrize("path", LIBRARY)
def test_shapes_in_signatures_stay_visible_to_the_checker(path):
    tree = tree_of(path)
    names = [name for name in imported(ast.walk(tree)) if name in {"jaxtyping", "__future__"}]
    assert set(names) != {"jaxtyping", "__future__"}, (
        "`from __future__ import annotations` hides the shapes of this file; leave it out"
    )


def forks_the_seed(node: ast.AST) -> bool:
    """A `with torch.random.fork_rng():` block gives the caller's random state back."""
    return isinstance(node, ast.With) and any("fork_rng" in ast.unparse(i) for i in node.items)


@pytest.mark.parametrize("path", LIBRARY)
def test_the_library_sets_no_global_seed_and_chooses_no_device(path):
    tree = tree_of(path)
    forked = {id(n) for block in filter(forks_the_seed, ast.walk(tree)) for n in ast.walk(block)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            assert not called.endswith(".cuda"), f"line {node.lineno}: use the device of an input"
            assert called not in GLOBAL_SEEDS or id(node) in forked, (
                f"line {node.lineno}: take a torch.Generator, or fork_rng around {called}"
            )


@pytest.mark.parametrize("room", sorted({str(Path(p).parent) for p in LIBRARY}))
def test_every_room_is_a_package(room):
    assert (ROOT / room / "__init__.py").is_file()


def test_the_page_about_the_house_lists_its_rooms_in_order():
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    table = page.split("<!-- rooms, earliest first -->")[1].split("\n\n")[0]
    assert re.findall(r"^\| `(\w+)` \|", table, re.M) == ROOMS
    folders = {room_of(path) for path in LIBRARY if path != "mg3d/__init__.py"}
    assert folders == set(ROOMS)


def test_notebooks_are_named_in_reading_order():
    for path in (ROOT / "notebooks").glob("*.ipynb"):
        assert re.fullmatch(r"\d\d[a-z]?_[a-z0-9_]+\.ipynb", path.name), path.name
