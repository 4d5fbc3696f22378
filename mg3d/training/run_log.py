"""Messages of a run: log lines, a progress bar, and history rows for trackers."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from mg3d.training.devices import Devices

Row = Mapping[str, float | int]


@dataclass(frozen=True)
class RunLog:
    """Receivers of a run's messages. Only the main process sends any.

    Args:
        line: receives messages of one line.
        notes: lines that follow the run's first one.
        progress: show a progress bar; None: only in a terminal.
        trackers: each receives every row of the history, for example for TensorBoard.
    """

    line: Callable[[str], object] = print
    notes: Sequence[str] = ()
    progress: bool | None = None
    trackers: Sequence[Callable[[Row], object]] = ()

    def on(self, devices: Devices) -> "RunLog":
        """The same on the main process; a silent log on the others."""
        if devices.is_main:
            return self
        return SILENT

    def begin(self, first: str) -> None:
        """Send the run's first line and the notes."""
        for text in (first, *self.notes):
            self.line(text)

    def bar(self, steps: range) -> Iterable[int]:
        """Iterate over the steps with a progress bar."""
        from tqdm import tqdm

        disable = None if self.progress is None else not self.progress
        return tqdm(steps, desc="training", unit="step", disable=disable)

    def track(self, row: Row) -> None:
        """Send a row of the history to the trackers."""
        for tracker in self.trackers:
            tracker(row)


SILENT = RunLog(line=lambda _: None, progress=False)  # of trainings inside a larger work
