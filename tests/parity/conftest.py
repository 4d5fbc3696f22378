"""Parity tests import the generator and the reader of cases that lie beside them."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))


def pytest_collection_modifyitems(config, items):
    """Leave out a kind that the folder has no case of: nothing is skipped, there is nothing."""
    here = Path(__file__).parent
    empty = [
        item
        for item in items
        if here in item.path.parents
        and any(
            "empty parameter set" in mark.kwargs["reason"] for mark in item.iter_markers("skip")
        )
    ]
    if empty:
        config.hook.pytest_deselected(items=empty)
        items[:] = [item for item in items if item not in empty]
