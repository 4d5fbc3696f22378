"""The training loop: devices, precision, accumulation, history, checkpoints, stop and resume.

A training is given by a module, a step function (losses by name from one batch), and batches as a
function of the step number. Pre-training, the embedded text encoder, fine-tuning and your own
trainings all call `fit`:

    def step(model, batch):
        volumes, labels = batch
        return {"bce": F.binary_cross_entropy_with_logits(model(volumes), labels)}

    def batches(steps):
        for number in steps:
            rows = np.random.default_rng([seed, number]).choice(len(labels), 8)
            yield volumes[rows], labels[rows]

    fit(model, step, batches, torch.optim.AdamW(model.parameters()), steps=200)

All random numbers of step `s` are drawn from `(seed, s)`, so that a run that was stopped and
resumed gives the same numbers as one that was not (bit for bit on a CPU).
"""

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from signal import Signals
from typing import Any

import torch
from torch import nn

from mg3d.distributed import largest
from mg3d.training.checkpoint import Progress
from mg3d.training.devices import Devices, start_devices
from mg3d.training.engine import Engine, Item, Step
from mg3d.training.history import History
from mg3d.training.losses import check_finite, check_weights
from mg3d.training.run_folder import RunFolder
from mg3d.training.run_log import RunLog
from mg3d.training.stopping import StopRequest, stop_on_signals

Batches = Callable[[range], Iterable[Item]]
Measure = Callable[[], Mapping[str, float]]
Rank = Callable[[Mapping[str, float]], float]


@dataclass(frozen=True)
class Fitted:
    """A finished (or stopped) run of `fit`."""

    history: History
    steps: int  # steps done, those before a resume included
    seconds: float  # of training, that before a resume included
    initial: dict[str, float]  # held-out numbers before the first step
    final: dict[str, float]  # held-out numbers after the last step


def fit(
    module: nn.Module,
    step: Step[Item],
    batches: Batches[Item],
    optimiser: torch.optim.Optimizer,
    *,
    steps: int,
    seed: int = 0,
    devices: Devices | None = None,
    batch_size: int | None = None,
    weights: Mapping[str, float] | None = None,
    learning_rate: Callable[[Progress], float] | None = None,
    max_grad_norm: float = 0.0,
    max_seconds: float = math.inf,
    stop_after: int | None = None,
    measure: Measure | None = None,
    measure_every: int = 0,
    best: Rank | None = None,
    folder: RunFolder | None = None,
    log: RunLog | None = None,
) -> Fitted:
    """Train a module, in place.

    Args:
        module: all trained parameters. If it is in evaluation mode, it is put in training mode;
            otherwise the mode of each layer is kept.
        step: computes losses by name from the module and one batch. It must call the module itself,
            not its parts, or several processes would not average their gradients.
        batches: yields the batches of a range of steps in order, `devices.accumulation` per step;
            they may depend on the step number only. Each process yields its share of the batch.
        optimiser: of the module's parameters. The learning rate of a parameter group is multiplied
            by its `factor`, if it has one.
        steps: of the whole run.
        seed: of random numbers drawn by layers (dropout).
        devices: from `start_devices`; None: float32, one batch per step.
        batch_size: patients per step over all processes, for the first line of the log.
        weights: weight of each loss in the total; losses without one are only recorded,
            and may be NaN. None: 1 each.
        learning_rate: computes the rate of the next step from the progress so far; None: the
            optimiser's rate is kept.
        max_grad_norm: gradients are clipped to this norm; 0: no clipping.
        max_seconds: the run ends after the step that exceeds this time of training.
        stop_after: stop (and save) after this many steps in all, as if interrupted.
        measure: returns held-out numbers by name, recorded as `val_<name>`: before the first step,
            after the last one, and after every `measure_every` steps (0: not in between). It is
            called in every process.
        best: makes one number of the held-out ones; a checkpoint is kept in `best/` where it was
            smallest, beside the newest one. None: the newest only. Scores on the same held-out
            patients flatter a checkpoint that was chosen by them.
        folder: for settings, history and checkpoints, with the interval of saving; None: nothing is
            written.
        log: receives messages; None: they are printed, with a progress bar in a terminal.

    Raises:
        FileExistsError: if the folder holds a run and neither `resume` nor `overwrite` is set, or
            if another run is writing to it.
        FloatingPointError: if a loss, or a parameter to be saved, is NaN or infinite; the last
            checkpoint is kept.
        OSError: if the folder cannot be written; the message says which checkpoint is kept.
        ValueError: if the run in the folder was made with other settings or on other data, or if
            the step, the batches or `measure` give something else than described here.
    """
    devices = devices or start_devices()
    told = (log or RunLog()).on(devices)
    if folder:
        folder.find()
    with folder.only_writer() if folder and devices.is_main else nullcontext():
        if not module.training:
            module.train()
        begun = folder.load(module, optimiser) if folder else Progress(0, 0.0)
        most = steps if stop_after is None else min(steps, stop_after)
        ends = begun.step if begun.seconds >= max_seconds else most
        ahead = range(begun.step, max(begun.step, ends))
        stream = iter(batches(ahead))
        engine = Engine(
            module,
            step,
            optimiser,
            devices,
            weights=weights,
            max_grad_norm=max_grad_norm,
            seed=seed,
        )
        engine.restore(begun)
        told.begin(devices.describe(batch_size, folder.path if folder else None))
        if folder and folder.resume:
            told.line(_resumed(begun))
        book = _Book(engine, folder, told, begun, measure, measure_every, best)
        done = _repeat(engine, book, ahead, stream, learning_rate, max_seconds)
        final = book.final or book.measured()  # if no step was left to take
        engine.release()
    return Fitted(book.history, done, book.seconds(), book.initial, final)


def _resumed(begun: Progress) -> str:
    """Where a run that was to be continued starts."""
    if begun.step:
        return f"continues after step {begun.step}"
    return "there is no checkpoint to continue from: starts at step 0"


def _repeat(
    engine: Engine[Item],
    book: "_Book",
    ahead: range,
    stream: Iterator[Item],
    learning_rate: Callable[[Progress], float] | None,
    max_seconds: float,
) -> int:
    """Take the steps; returns the number of steps done, those before a resume included."""
    done, seconds = ahead.start, book.begun.seconds
    with stop_on_signals() as request:
        for number in book.told.bar(ahead):
            rate = engine.set_rate(learning_rate and learning_rate(Progress(number, seconds)))
            losses = engine.take_step(number, stream)
            done = number + 1
            seconds, stopped = _agree(book.seconds(), request, engine.devices)
            last = done == ahead.stop or seconds >= max_seconds
            book.write(done, seconds, rate, losses, last=last, stopped=stopped)
            if last or stopped:
                break
    if engine.skipped:
        book.told.line(f"{engine.skipped} optimiser steps were skipped: fp16 gradients overflowed")
    return done


def _agree(seconds: float, request: StopRequest, devices: Devices) -> tuple[float, int]:
    """Seconds and stop signal (0: none), made equal on all processes by taking the maximum."""
    seconds, stopped = largest([seconds, request.signal or 0], devices.device)
    request.signal = int(stopped) or None  # a signal to one process stops all of them
    return seconds, int(stopped)


class _Book:
    """The records of a run: initial held-out numbers, a history row per step, checkpoints."""

    def __init__(
        self,
        engine: Engine[Any],
        folder: RunFolder | None,
        told: RunLog,
        begun: Progress,
        measure: Measure | None,
        measure_every: int,
        best: Rank | None = None,
    ):
        self.engine, self.told, self.begun = engine, told, begun
        self.folder = folder if engine.devices.is_main else None
        self.measure, self.measure_every, self.best = measure, measure_every, best
        self.final: dict[str, float] = {}
        fresh = begun.step == 0
        self.initial = folder.initial() if folder and not fresh else self.measured()
        columns = ["step", "seconds", "learning_rate", "total"]
        columns += [*(engine.weights or ()), *_held_out(self.initial)]
        if self.folder:
            self.folder.begin(self.initial, afresh=fresh)
        with self._writing("history.csv"):
            path = self.folder.history if self.folder else None
            self.history = History(path, columns, begun.step)
        if fresh and self.initial:
            self._add({"step": 0, "seconds": 0.0, **_held_out(self.initial)})
        self.start = time.perf_counter()

    def seconds(self) -> float:
        """Seconds of training, those before a resume included."""
        return self.begun.seconds + time.perf_counter() - self.start

    def measured(self) -> dict[str, float]:
        """Held-out numbers of the module with its current weights."""
        return _numbers(self.measure()) if self.measure else {}

    def write(
        self,
        done: int,
        seconds: float,
        rate: float,
        losses: Mapping[str, float],
        *,
        last: bool,
        stopped: int,
    ) -> None:
        """Record one step; measure and save if it is time to."""
        saves = last or bool(stopped) or bool(self.folder and _due(done, self.folder.save_every))
        way_back = self.folder.kept if self.folder else lambda: "start again"
        if self.engine.devices.precision != "fp16":  # fp16: a step that overflows is skipped
            check_finite(self.engine.taught(losses), done, way_back, self.engine.suspects)
        if saves:
            check_weights(self.engine.module, done, way_back)
        row: dict[str, float | int] = {"step": done, "seconds": round(seconds, 3)}
        row |= {"learning_rate": rate, "total": self.engine.total(losses), **losses}
        # After a stop signal there is little time: save only; measure when the run is resumed.
        if last or (not stopped and _due(done, self.measure_every)):
            self.final = self.measured()
            row |= _held_out(self.final)
            self._keep_best(done, seconds, way_back)
        self._add(row)
        if self.folder and saves:
            state = Progress(done, seconds, self.engine.scaler())
            self.folder.save(self.engine.module, self.engine.optimiser, state)
        if stopped:
            kept = self.folder.kept() if self.folder else "nothing was saved: the run has no folder"
            self.told.line(f"stopped by {Signals(stopped).name} after step {done}: {kept}")

    def _keep_best(self, done: int, seconds: float, way_back: Callable[[], str]) -> None:
        if not (self.folder and self.best and self.final):
            return
        check_weights(self.engine.module, done, way_back)
        state = Progress(done, seconds, self.engine.scaler())
        ranked = float(self.best(self.final))
        self.folder.keep_best(self.engine.module, self.engine.optimiser, state, ranked)

    def _add(self, row: Mapping[str, float | int]) -> None:
        with self._writing("history.csv"):
            self.history.add(row)
        self.told.track(row)

    def _writing(self, what: str) -> AbstractContextManager[None]:
        return self.folder.writing(what) if self.folder else nullcontext()


def _numbers(measured: Any) -> dict[str, float]:
    """What `measure` gave, as numbers that JSON and CSV hold."""
    try:
        return {str(name): float(value) for name, value in measured.items()}
    except (AttributeError, TypeError, ValueError, RuntimeError) as error:
        raise ValueError(
            "`measure` gives one number for each name, such as {'auroc': 0.7}; what came is not "
            f"that ({error})"
        ) from error


def _held_out(numbers: Mapping[str, float]) -> dict[str, float]:
    return {f"val_{name}": value for name, value in numbers.items()}


def _due(done: int, every: int) -> bool:
    return bool(every) and done % every == 0
