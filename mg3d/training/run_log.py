"""What a run tells while it runs: lines, a progress bar, and every row of numbers to trackers."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from mg3d.training.devices import Devices

Row = Mapping[str, float | int]


@dataclass(frozen=True)
class RunLog:
    """Who is told. Only the main process speaks.

    Args:
        line: gets one line per thing a reader should know.
        notes: lines that follow the run's first one.
        progress: show a progress bar; None: only in a terminal.
        trackers: each gets every row of the history (TensorBoard and its like).
    """

    line: Callable[[str], object] = print
    notes: Sequence[str] = ()
    progress: bool | None = None
    trackers: Sequence[Callable[[Row], object]] = ()

    def on(self, devices: Devices) -> "RunLog":
        """Itself on the main process, silence on the others."""
        if devices.is_main:
            return self
        return RunLog(line=lambda _: None, progress=False)

    def begin(self, first: str) -> None:
        """Say the run's first line, and the notes."""
        for text in (first, *self.notes):
            self.line(text)

    def bar(self, steps: range) -> Iterable[int]:
        """The steps, counted in a progress bar."""
        from tqdm import tqdm

        disable = None if self.progress is None else not self.progress
        return tqdm(steps, desc="training", unit="step", disable=disable)

    def track(self, row: Row) -> None:
        """Give a row of the history to the trackers."""
        for tracker in self.trackers:
            tracker(row)
