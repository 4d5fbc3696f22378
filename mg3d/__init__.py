"""MG-3D, to read, run and teach: learn from 3D volumes and the reports written about them.

`import mg3d` loads nothing heavy. The names below, and the rooms (`mg3d.viz`, `mg3d.phantom`, ...),
are imported when they are first used. Type checkers read the same names in `__init__.pyi`.

Source: MG-3D (arXiv 2412.05876).
"""

from importlib import import_module
from pkgutil import iter_modules

__version__ = "0.1.0"

_HOME = {  # name -> the module it lives in
    "PRESETS": "mg3d.config",
    "LossWeights": "mg3d.config",
    "PretrainConfig": "mg3d.config",
    "Batch": "mg3d.data.batch",
    "PointDataset": "mg3d.data.points",
    "VolumeDataset": "mg3d.data.volume_dataset",
    "VolumeReportDataset": "mg3d.data.dataset",
    "MG3D": "mg3d.model",
    "build_model": "mg3d.model",
    "load_pretrained": "mg3d.pretrained.load",
    "load_text_encoder": "mg3d.text.encoder",
    "to_swin_unetr": "mg3d.pretrained.unetr",
}


def __getattr__(name: str) -> object:
    if name in _HOME:
        value: object = getattr(import_module(_HOME[name]), name)
    elif name in _rooms():
        value = import_module(f"mg3d.{name}")
    else:
        raise AttributeError(f"module 'mg3d' has no attribute '{name}'; it offers {__dir__()}")
    globals()[name] = value  # the next access does not come here
    return value


def __dir__() -> list[str]:
    return sorted([*_HOME, *_rooms(), "__version__"])


def _rooms() -> list[str]:
    return [module.name for module in iter_modules(__path__)]
