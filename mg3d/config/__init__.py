"""All settings of a run: groups of settings, presets, and reading and writing them as JSON.

A preset is a starting point; `change` replaces some of its settings. The same settings are options
of the command line, see `python -m mg3d.training --help`.
"""

from mg3d.config.change import change, flatten
from mg3d.config.presets import PRESETS, choose_objectives, find_preset
from mg3d.config.settings import (
    RELEASED_QUIRKS,
    AugmentationSettings,
    ComputeSettings,
    GridSettings,
    LossWeights,
    MaskingSettings,
    NetworkSettings,
    ObjectiveSettings,
    OptimisationSettings,
    PretrainConfig,
    Quirks,
    RunSettings,
)
from mg3d.config.stored import parse_config, read_config, write_config

__all__ = [
    "PRESETS",
    "RELEASED_QUIRKS",
    "AugmentationSettings",
    "ComputeSettings",
    "GridSettings",
    "LossWeights",
    "MaskingSettings",
    "NetworkSettings",
    "ObjectiveSettings",
    "OptimisationSettings",
    "PretrainConfig",
    "Quirks",
    "RunSettings",
    "change",
    "choose_objectives",
    "find_preset",
    "flatten",
    "parse_config",
    "read_config",
    "write_config",
]
