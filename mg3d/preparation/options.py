"""Options of every importer: the prepared form, and how the work is run."""

from dataclasses import dataclass, replace

from mg3d.config import find_preset
from mg3d.preparation.records import PrepareSettings
from mg3d.preparation.shards import Shard
from mg3d.volumes.grid import Grid

__all__ = ["DEFAULT_OPTIONS", "RunOptions", "settings_of"]


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """The options that every importer takes.

    Attributes:
        preset: model preset whose grid and HU window are used; "": the default form of the source.
        settings: the whole prepared form, instead of a preset.
        read_by: model preset whose token limit is applied when dataset.json counts how much of the
            reports does not fit; "": `preset`, else tiny.
        shard: prepare only this part of the patients; `shards.merge` joins the parts. None: all.
        force: continue even if the disk space seems too small.
        workers: processes; 0: no extra process; None: one per core.
        progress: show a progress bar; None: only in a terminal.

    Raises:
        ValueError: if there is no such preset, or both a preset and settings are given.
    """

    preset: str = ""
    settings: PrepareSettings | None = None
    read_by: str = ""
    shard: Shard | None = None
    force: bool = False
    workers: int | None = None
    progress: bool | None = None

    def __post_init__(self) -> None:
        if self.read_by:
            find_preset(self.read_by)
        if self.preset:
            find_preset(self.preset)
            if self.settings is not None:
                raise ValueError(
                    f"preset '{self.preset}' and settings both say what is made; give one of them"
                )

    def with_form(self, own: PrepareSettings | None = None) -> "RunOptions":
        """The same options with `settings` filled in: as requested, else the source's default.

        Args:
            own: the source's form. Of a preset only grid and HU window are taken, the rest is as
                here. None: the form of the `tiny` preset.
        """
        read_by = self.read_by or self.preset
        if self.settings is not None:
            return replace(self, read_by=read_by)
        form = own or settings_of("tiny")
        if self.preset:
            preset = settings_of(self.preset)
            form = replace(form, grid=preset.grid, hu_window=preset.hu_window)
        return replace(self, preset="", settings=form, read_by=read_by)


DEFAULT_OPTIONS = RunOptions()  # the source's own form, one process per core


def settings_of(preset: str) -> PrepareSettings:
    """The prepared form that a model preset reads.

    Raises:
        ValueError: if there is no such preset.
    """
    config = find_preset(preset)
    grid = Grid(config.grid.volume_shape, config.grid.spacing_mm, config.grid.crop)
    return PrepareSettings(grid=grid, hu_window=config.grid.hu_window)
