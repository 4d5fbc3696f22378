"""Stop a run when asked to: finish the step, save, then let the signal have its usual effect.

Schedulers send SIGTERM before they kill a job, a keyboard sends SIGINT (Ctrl-C), and so does a
notebook's stop button.
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class StopRequest:
    """Whether a signal has come.

    Attributes:
        signal: its number; None while none has come.
    """

    def __init__(self) -> None:
        self.signal: int | None = None


@contextmanager
def stop_on_signals() -> Iterator[StopRequest]:
    """Note SIGTERM and SIGINT inside the block instead of dying of them at once.

    A second signal is not held back. When the block ends, the signal that came is raised again, as
    if it came then: SIGINT becomes a KeyboardInterrupt, SIGTERM ends the process. Does nothing
    outside the main thread, where Python allows no handlers.
    """
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    usual = {number: signal.getsignal(number) for number in SIGNALS}

    def restore() -> None:
        for number, handler in usual.items():
            signal.signal(number, handler)

    def note(number: int, _frame: FrameType | None) -> None:
        request.signal = number
        restore()

    for number in SIGNALS:
        signal.signal(number, note)
    try:
        yield request
    finally:
        restore()
    if request.signal is not None:
        signal.raise_signal(request.signal)
