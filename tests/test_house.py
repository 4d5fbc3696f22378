"""What a newcomer meets first: a quick import, one list of versions, a licence, two commands."""

import ast
import hashlib
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from pkgutil import iter_modules

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

import mg3d

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]


def python(code: str) -> str:
    """What `code` prints in a fresh interpreter."""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def printed_command(name: str) -> str:
    """The bash block of README.md under the line `<!-- name -->`."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    found = re.findall(rf"^<!-- {name} -->\n+```bash\n(.*?)^```", text, re.S | re.M)
    assert len(found) == 1, f"README.md shows {len(found)} blocks named '{name}', not one"
    return found[0]


def test_importing_mg3d_loads_nothing_heavy():
    loaded = python("import sys, mg3d; print(*sys.modules)").split()
    heavy = {"torch", "monai", "transformers", "accelerate", "numpy", "pandas", "matplotlib"}
    assert not heavy & set(loaded)


def test_importing_mg3d_takes_well_under_two_seconds():
    timer = "import time; s = time.perf_counter(); import mg3d; print(time.perf_counter() - s)"
    assert min(float(python(timer)) for _ in range(3)) < 0.5


@pytest.mark.parametrize("name", [name for name in dir(mg3d) if name != "__version__"])
def test_everything_mg3d_offers_is_there(name):
    assert getattr(mg3d, name) is not None


def test_an_unknown_name_is_refused_with_what_there_is():
    with pytest.raises(AttributeError, match=r"no attribute 'nothing'.*build_model"):
        _ = mg3d.nothing


def test_type_checkers_are_told_every_name_and_no_other():
    stub = ast.parse((ROOT / "mg3d" / "__init__.pyi").read_text(encoding="utf-8"))
    imports = [node for node in stub.body if isinstance(node, ast.ImportFrom)]
    told = {
        alias.asname: node.module if node.module != "mg3d" else f"mg3d.{alias.name}"
        for node in imports
        for alias in node.names
        if alias.name == alias.asname
    }
    rooms = {module.name: f"mg3d.{module.name}" for module in iter_modules(mg3d.__path__)}
    assert told == mg3d._HOME | rooms


def test_a_users_script_is_type_checked(tmp_path):
    script, settings = tmp_path / "script.py", tmp_path / "mypy.ini"
    script.write_text(
        "import mg3d\n"
        "loaded = mg3d.load_pretrained('tiny', part='model')\n"
        "reveal_type(loaded.encoder)\n"
        "mg3d.build_model(mg3d.PRESETS['tiny'], text_encoder=mg3d.load_text_encoder())\n"
        "mg3d.build_model(3)\n"
    )
    # Other libraries are left out: reading torch takes a minute.
    settings.write_text("[mypy]\nfollow_imports = skip\n[mypy-mg3d.*]\nfollow_imports = normal\n")
    command = [sys.executable, "-m", "mypy", "--config-file", str(settings), str(script)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    said = [line for line in done.stdout.splitlines() if "script.py" in line]
    assert "mg3d.encoders.maps.Encoder" in said[0]
    assert "script.py:5" in said[1] and 'expected "PretrainConfig"' in said[1]
    assert len(said) == 2, said


def test_the_installed_package_has_the_version_of_the_source():
    assert "version" in PROJECT["dynamic"]
    assert re.fullmatch(r"\d+\.\d+\.\d+", mg3d.__version__)


def test_extras_refer_to_extras_that_exist():
    for wanted in (Requirement(line) for lines in EXTRAS.values() for line in lines):
        if wanted.name == PROJECT["name"]:
            assert wanted.extras <= EXTRAS.keys()


def test_the_conda_environment_is_python_and_the_project_itself():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    conda, by_pip = environment["dependencies"][:-1], environment["dependencies"][-1]["pip"]
    (python_pin,) = [line for line in conda if line.startswith("python=")]

    assert environment["name"] == PROJECT["name"]
    assert environment["channels"] == ["conda-forge"]
    assert sorted(conda) == sorted(["pip", python_pin])
    assert python_pin.split("=")[1] in SpecifierSet(PROJECT["requires-python"])
    assert len(by_pip) == 1
    assert set(re.fullmatch(r"-e \.\[(.+)\]", by_pip[0])[1].split(",")) <= EXTRAS.keys()


def test_the_citation_names_the_software_and_the_paper():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    (paper,) = citation["references"]

    assert citation["cff-version"] == "1.2.0"
    assert citation["type"] == "software"
    assert citation["version"] == mg3d.__version__
    assert citation["license"] == PROJECT["license"]
    assert citation["authors"] and citation["title"] and citation["message"]
    assert paper["identifiers"][0]["value"] == "arXiv:2412.05876"
    assert paper["authors"][0]["family-names"] == "Ni"
    assert all({"family-names", "given-names"} == author.keys() for author in paper["authors"])


def test_the_licence_is_the_apache_licence_word_for_word():
    words = " ".join((ROOT / "LICENSE").read_text().split())
    published = "0ffddef9e48f8a09aed5caf2d44f7ba1c1be2d9b8e0a6f693b1635b2d5566645"
    assert hashlib.sha256(words.encode()).hexdigest() == published


def test_readme_shows_two_commands_that_name_the_same_tested_torch():
    torches = [
        re.search(r"torch==[\d.]+", printed_command(name))[0] for name in ("main job", "tests")
    ]
    (bound,) = [r for r in map(Requirement, PROJECT["dependencies"]) if r.name == "torch"]
    assert torches[0] == torches[1]
    assert torches[0].removeprefix("torch==") in bound.specifier


@pytest.mark.parametrize(
    ("command", "parts"),
    [
        ("main job", ["python -m venv", ".[notebooks]", "papermill notebooks/03_pretrain.ipynb"]),
        ("tests", ["python -m venv", ".[tests]", "pytest"]),
    ],
)
def test_each_command_installs_the_project_and_runs_it(command, parts):
    text = printed_command(command)
    assert all(part in text for part in parts)


def test_the_whole_check_can_be_run():
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
    subprocess.run(["bash", "-n", str(ROOT / ".ci" / "run")], check=True)


def test_no_file_knows_the_machine_it_was_written_on():
    folders = ["mg3d", "data_prep", "benchmarks", "notebooks", "tests", ".ci"]
    files = [path for folder in folders for path in (ROOT / folder).rglob("*") if path.is_file()]
    # In a linked working tree, .git is a file.
    here = [path for path in ROOT.glob("*.*") if path.is_file() and path.name != ".git"]
    for path in [*files, *here]:
        if path.suffix in {".py", ".md", ".toml", ".yml", ".cff", ".ipynb", ".json", ""}:
            found = re.search(
                r"[\"' ](/work|/root|/home|/Users)/\w", path.read_text(errors="replace")
            )
            assert not found, f"{path.relative_to(ROOT)} names {found[0]}"
