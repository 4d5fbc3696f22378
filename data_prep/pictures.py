"""Prepared form of data sets of 8-bit images, which have grey values instead of HU and no spacing.

The whole scan is stretched to a preset's shape, as in the released code: with the "1 mm" spacing
that such files state, a scan of 64 slices would fill a sixth of the grid.
"""

import argparse
from dataclasses import replace

from data_prep.command import options_from
from mg3d.preparation.options import RunOptions, settings_of
from mg3d.preparation.prepare import PrepareSettings
from mg3d.volumes.grid import Grid
from mg3d.volumes.intensity import EightBit


def settings_of_pictures(preset: str = "tiny") -> PrepareSettings:
    """A preset's shape, the whole scan stretched to it; 0 to 255 become 0 to 1."""
    return _stretched(replace(settings_of(preset), intensity=EightBit()))


def with_picture_form(options: RunOptions) -> RunOptions:
    """The options with the prepared form filled in; of a preset, only the shape is used."""
    if options.settings is not None:
        return options
    form = settings_of_pictures(options.preset or "tiny")
    return replace(options, preset="", settings=form, read_by=options.read_by or options.preset)


def options_of_call(arguments: argparse.Namespace) -> RunOptions:
    """Build the options from parsed arguments; a spacing is used only if it is given."""
    options = options_from(arguments, settings_of_pictures())
    assert options.settings is not None
    if arguments.spacing:
        return options
    return replace(options, settings=_stretched(options.settings))


def _stretched(settings: PrepareSettings) -> PrepareSettings:
    grid = settings.grid
    if grid.spacing_mm is None:  # the scan is stretched, with or without a crop
        return settings
    return replace(settings, grid=Grid(grid.shape))
