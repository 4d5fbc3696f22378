"""The folder of one run: who writes it, what it holds, where a stopped run goes on.

config.json          every setting
initial_losses.json  held-out losses before the first step
history.csv          one row per step
checkpoint/          the newest whole state, see `mg3d.training.checkpoint`
"""

import json
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from mg3d.training.checkpoint import (
    STATE,
    Flatten,
    Progress,
    find_checkpoint,
    load_checkpoint,
    save_checkpoint,
)


@dataclass(frozen=True)
class RunFolder:
    """Where a run is written. What keeps more than the newest checkpoint belongs here.

    Args:
        where: path of the folder; it is made where it is missing.
        settings: everything the run depends on, as JSON holds it. A run is continued with the same
            settings only.
        free: settings that may differ then, by flat name, because they decide no number.
        resume: continue the run that is there, if there is one.
        overwrite: start again where a run is.
        save_every: steps; 0: only at the end.
        flatten: stored settings as one flat mapping, to compare them; None: by dotted name.
    """

    where: Path | str
    settings: Mapping[str, Any] = field(default_factory=dict)
    free: Collection[str] = ()
    resume: bool = False
    overwrite: bool = False
    save_every: int = 0
    flatten: Flatten | None = None

    @property
    def path(self) -> Path:
        """Of the folder."""
        return Path(self.where)

    @property
    def history(self) -> Path:
        """The table of numbers."""
        return self.path / "history.csv"

    def find(self) -> Path | None:
        """Make the folder; the checkpoint that this run goes on from, or None to start afresh.

        Raises:
            FileExistsError: if the folder holds a run, and nothing says what to do with it.
            OSError: if it cannot be written.
        """
        with self.writing("the run folder"):
            self.path.mkdir(parents=True, exist_ok=True)
        found = find_checkpoint(self.path / "checkpoint")
        if found and not (self.resume or self.overwrite):
            raise FileExistsError(
                f"{self.path} holds a run already; continue it with resume=True, start again with "
                "overwrite=True, or choose another output_dir"
            )
        return found if self.resume else None

    @contextmanager
    def only_writer(self) -> Iterator[None]:
        """Keep other runs from writing the same folder; the lock of a killed run frees itself.

        Raises:
            FileExistsError: if another run is writing it.
        """
        from filelock import FileLock, Timeout

        lock = FileLock(self.path / ".writer.lock", timeout=0)
        try:
            with self.writing("the run folder"):
                lock.acquire()
        except Timeout as error:
            raise FileExistsError(
                f"{self.path} is being written by another run; wait for it to end, or choose "
                "another output_dir"
            ) from error
        try:
            yield
        finally:
            lock.release()

    def begin(self, initial: Mapping[str, float]) -> None:
        """Write what is known before the first step: settings and held-out losses."""
        for name, values in (("config.json", self.settings), ("initial_losses.json", initial)):
            if values:
                with self.writing(name):
                    (self.path / name).write_text(json.dumps(values, indent=2) + "\n")

    def initial(self) -> dict[str, float]:
        """Held-out losses before the first step, of a run that goes on."""
        path = self.path / "initial_losses.json"
        return dict(json.loads(path.read_text())) if path.exists() else {}

    def load(self, module: nn.Module, optimiser: torch.optim.Optimizer) -> Progress:
        """Put the newest state in place, if this run goes on; how far it had come.

        Raises:
            ValueError: if it was made with other settings.
        """
        found = self.find()
        if found is None:
            return Progress(0, 0.0)
        return load_checkpoint(
            found, module, optimiser, self.settings, free=self.free, flatten=self.flatten
        )

    def save(self, module: nn.Module, optimiser: torch.optim.Optimizer, progress: Progress) -> None:
        """Write the state of a step, in the place of the one before.

        Raises:
            OSError: if it cannot be written; the one before is left as it was.
        """
        with self.writing(f"the checkpoint of step {progress.step}"):
            save_checkpoint(self.path / "checkpoint", module, optimiser, self.settings, progress)

    @contextmanager
    def writing(self, what: str) -> Iterator[None]:
        """Say in one line what could not be written, and what is kept.

        Raises:
            OSError: for any failed write inside the block.
        """
        from safetensors import SafetensorError

        try:
            yield
        except TimeoutError:  # of the lock
            raise
        except (OSError, SafetensorError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise OSError(
                f"{what} could not be written to {self.path} ({reason}); {self.kept()}"
            ) from error

    def kept(self) -> str:
        """Which state is on disk, and what to do with it."""
        try:
            found = find_checkpoint(self.path / "checkpoint")
            step = json.loads((found / STATE).read_text())["step"] if found else None
        except OSError:  # the disk itself may be gone
            step = None
        if step is None:
            return "no checkpoint is there to continue from; mend the cause and start again"
        return (
            f"the checkpoint of step {step} is kept in {found}; mend the cause and continue with "
            "resume=True"
        )
