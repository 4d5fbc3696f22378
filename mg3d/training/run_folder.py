"""The folder of one run: its files, the lock against a second writer, and resuming.

config.json          every setting
initial_losses.json  held-out losses before the first step
history.csv          one row per step
checkpoint/          the newest complete checkpoint, see `mg3d.training.checkpoint`
best/                the one with the smallest held-out number, if that is asked for
"""

import json
import math
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from mg3d.training.checkpoint import (
    Flatten,
    Progress,
    find_checkpoint,
    load_checkpoint,
    read_state,
    remove_checkpoint,
    save_checkpoint,
)
from mg3d.volumes.volume import replace_file


@dataclass(frozen=True)
class RunFolder:
    """Folder of a run, and how a run that it holds already is treated.

    Args:
        where: path of the folder; created if missing.
        settings: everything the run depends on, JSON-serialisable. A run can be resumed with equal
            settings only.
        free: flat names of settings that may differ on resuming, because they do not change the
            numbers.
        resume: continue a run that the folder holds.
        overwrite: start again if the folder holds a run.
        save_every: interval of checkpoints, steps; 0: only at the end.
        flatten: turns stored settings into a flat mapping, to compare them; None: by dotted name.
        data: fingerprint of the data; only a run on the same data is resumed. "": not compared.
    """

    where: Path | str
    settings: Mapping[str, Any] = field(default_factory=dict)
    free: Collection[str] = ()
    resume: bool = False
    overwrite: bool = False
    save_every: int = 0
    flatten: Flatten | None = None
    data: str = ""

    @property
    def path(self) -> Path:
        """Path of the folder."""
        return Path(self.where)

    @property
    def history(self) -> Path:
        """Path of the history, one row per step."""
        return self.path / "history.csv"

    def find(self) -> Path | None:
        """Create the folder; return the checkpoint to resume from, or None to start from scratch.

        Raises:
            FileExistsError: if it holds a run and neither `resume` nor `overwrite` is set.
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
        """Lock the folder against other runs; the lock of a killed run is released by the system.

        Raises:
            FileExistsError: if another run is writing to it.
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

    def begin(self, initial: Mapping[str, float], *, afresh: bool) -> None:
        """Write settings and initial held-out losses.

        Args:
            initial: held-out losses.
            afresh: the run starts at step 0: what an overwritten run left may not be continued.
        """
        if afresh:
            remove_checkpoint(self.path / "checkpoint")
            remove_checkpoint(self.path / "best")
        for name, values in (("config.json", self.settings), ("initial_losses.json", initial)):
            if values:
                with self.writing(name):
                    content = json.dumps(values, indent=2) + "\n"
                    replace_file(self.path / name, content.encode())
            elif afresh:
                (self.path / name).unlink(missing_ok=True)

    def initial(self) -> dict[str, float]:
        """Held-out losses before the first step, read back when a run is resumed."""
        path = self.path / "initial_losses.json"
        return dict(json.loads(path.read_text())) if path.exists() else {}

    def load(self, module: nn.Module, optimiser: torch.optim.Optimizer) -> Progress:
        """Load the newest checkpoint if this run is resumed; return its progress.

        Raises:
            ValueError: if it does not fit, or is damaged; see `load_checkpoint`.
        """
        found = self.find()
        if found is None:
            return Progress(0, 0.0)
        return load_checkpoint(
            found,
            module,
            optimiser,
            self.settings,
            free=self.free,
            flatten=self.flatten,
            data=self.data,
        )

    def save(self, module: nn.Module, optimiser: torch.optim.Optimizer, progress: Progress) -> None:
        """Write a checkpoint, replacing the one before.

        Raises:
            OSError: if it cannot be written; the one before is kept.
        """
        with self.writing(f"the checkpoint of step {progress.step}"):
            save_checkpoint(
                self.path / "checkpoint",
                module,
                optimiser,
                self.settings,
                progress,
                data=self.data,
            )

    def keep_best(
        self,
        module: nn.Module,
        optimiser: torch.optim.Optimizer,
        progress: Progress,
        held_out: float,
    ) -> None:
        """Write a checkpoint to `best/` if no earlier one of the run has a smaller number.

        Args:
            module: all trained parameters.
            optimiser: as for `save`.
            progress: of the run.
            held_out: the number; NaN is never the best.

        Raises:
            OSError: if it cannot be written; the one before is kept.
        """
        folder = self.path / "best"
        found = find_checkpoint(folder)
        smallest = read_state(found)["held_out"] if found else math.inf
        if not held_out < smallest:
            return
        with self.writing(f"the best checkpoint, of step {progress.step},"):
            save_checkpoint(
                folder,
                module,
                optimiser,
                self.settings,
                progress,
                data=self.data,
                held_out=held_out,
            )

    @contextmanager
    def writing(self, what: str) -> Iterator[None]:
        """Turn a failed write into a one-line error that says what is kept.

        Raises:
            OSError: for any failed write inside the block.
        """
        from safetensors import SafetensorError

        try:
            yield
        except TimeoutError:  # raised by the lock; handled by the caller
            raise
        except (OSError, SafetensorError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise OSError(
                f"{what} could not be written to {self.path} ({reason}); {self.kept()}"
            ) from error

    def kept(self) -> str:
        """Describe the checkpoint on disk and what to do with it, for messages."""
        try:
            found = find_checkpoint(self.path / "checkpoint")
            step = read_state(found)["step"] if found else None
        except (OSError, ValueError):  # the disk may be unavailable
            step = None
        if step is None:
            return "there is no checkpoint to continue from; fix the cause and start again"
        return (
            f"the checkpoint of step {step} is kept in {found}; fix the cause and continue with "
            "resume=True"
        )
