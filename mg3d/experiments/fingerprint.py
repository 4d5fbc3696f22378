"""Short hashes of the data and the code that, besides the settings, decide a run's numbers.

Code is hashed as a syntax tree without docstrings and comments: editing a docstring keeps stored
runs valid, changing a sign in a loss makes all of them out of date.
"""

import ast
import hashlib
import inspect
import json
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import mg3d
from mg3d.data.manifest import FACTS_NAME, NAME, read_manifest

# Packages and modules whose code decides the numbers of a training or an evaluation. The phantom
# and the importers are not listed: the data they write are hashed.
NUMERICS = (
    *("text", "data", "encoders", "attention", "model", "objectives", "training", "evaluation"),
    *("distributed", "modes", "experiments/reports", "experiments/scored"),
)
LENGTH = 16  # hexadecimal digits


def short_hash(content: Mapping[str, Any]) -> str:
    """Hash of JSON content, independent of the order of keys."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:LENGTH]


def data_fingerprint(folder: Path) -> str:
    """Hash of a prepared folder's table, voxels, grid and window.

    The voxels' hash stands in `dataset.json`; where a folder was made by hand and has none, the
    volumes are read for it.

    Raises:
        FileNotFoundError: if the folder is not a prepared one.
    """
    if not (folder / NAME).is_file():
        raise FileNotFoundError(
            f"expected a prepared folder with {NAME}, but {folder} has none; make one with "
            "data_prep"
        )
    path = folder / FACTS_NAME
    facts = json.loads(path.read_text("utf-8")) if path.is_file() else {}
    return short_hash(
        {
            "table": hashlib.sha256((folder / NAME).read_bytes()).hexdigest(),
            "voxels": facts.get("voxels_sha256") or _hash_of_volumes(folder),
            "settings": facts.get("settings"),
        }
    )


def _hash_of_volumes(folder: Path) -> str:
    digest = hashlib.sha256()
    for volume in sorted(read_manifest(folder).rows["volume"]):
        with (folder / volume).open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def code_fingerprint(work: Callable[..., Any] | None = None) -> str:
    """Hash of the code that decides the numbers: `NUMERICS`, torch's version, and `work`'s module.

    Args:
        work: what makes the run, usually a function of an experiment.
    """
    import torch

    module = inspect.getmodule(work) if work else None
    return short_hash(
        {
            "library": _library_code(),
            "work": _syntax([Path(_file_of(module))]) if module else "",
            "torch": torch.__version__.split("+")[0],
        }
    )


@cache
def _library_code() -> str:
    return _syntax(sorted(_library_files()))


def _library_files() -> list[Path]:
    (root,) = map(Path, mg3d.__path__)
    files = [root / f"{room}.py" for room in NUMERICS if (root / f"{room}.py").is_file()]
    for room in NUMERICS:
        files += (root / room).rglob("*.py")
    return files


def _syntax(files: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for path in files:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            body = getattr(node, "body", None)
            if isinstance(body, list) and body and _is_text(body[0]):
                node.body = body[1:]  # type: ignore[attr-defined]
        digest.update(ast.dump(tree).encode())
    return digest.hexdigest()[:LENGTH]


def _is_text(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def _file_of(module: ModuleType) -> str:
    if not module.__file__:
        raise ValueError(
            f"the function that makes a run must be defined in a file, because its code is hashed, "
            f"but {module.__name__} has no file; put the function into a module"
        )
    return module.__file__
