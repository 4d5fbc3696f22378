"""From arrays to figures: every function returns the figure and neither shows nor saves it."""

from importlib import import_module
from types import ModuleType

__all__ = [
    *("architecture", "curves", "growth", "heat", "hounsfield", "hu_overview", "lines", "matrices"),
    *("montage", "overlay", "pairs", "plate", "preprocessing", "proportions", "report"),
    *("scaling", "slices", "thresholds", "widgets"),
]


def __getattr__(name: str) -> ModuleType:
    if name not in __all__:
        raise AttributeError(f"mg3d.viz has {', '.join(__all__)}; got '{name}'")
    return import_module(f"mg3d.viz.{name}")
