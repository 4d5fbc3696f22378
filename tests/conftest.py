"""Shape checking on, one thread, no network; and the folder of real data, where there is one."""

import os
import sys
from pathlib import Path
from pkgutil import iter_modules

import pytest

# Before torch is imported: one thread sums in one order on every machine, and two test runs side
# by side do not fight for cores. A caller's own setting wins.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MPLBACKEND", "Agg")
os.environ.setdefault("HF_HUB_OFFLINE", "1")  # no test needs the network

from jaxtyping import install_import_hook

# Every shape written in a signature of mg3d is checked while the tests run, and only then.
# The tower lets an int stand where a float is asked for, as type checkers do. The settings hold no
# tensors and check their types themselves, for users too.
REPOSITORY = Path(__file__).parents[1]
ROOMS = [f"mg3d.{module.name}" for module in iter_modules([str(REPOSITORY / "mg3d")])]
ROOMS.remove("mg3d.config")
install_import_hook(ROOMS, "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))")

sys.path.insert(0, str(Path(__file__).parent))
pytest_plugins = ["prepared_patients"]  # imported after the hook above


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the repository, wherever pytest was started."""
    return REPOSITORY


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real volumes and reports: `MG3D_SHARED_DATA`, else `../shared/data` beside the repository."""
    named = os.environ.get("MG3D_SHARED_DATA")
    folder = Path(named) if named else REPOSITORY.parent / "shared" / "data"
    if not (folder / "SCHEMA.md").is_file():
        source = "MG3D_SHARED_DATA" if named else "the default place"
        pytest.skip(
            f"real volumes and reports are not in {folder} ({source}); "
            "name their folder in MG3D_SHARED_DATA to run this test"
        )
    return folder
