"""Stop a run on a signal: finish the step, save, then raise the signal again.

Schedulers send SIGTERM before they kill a job; Ctrl-C and the stop button of a notebook send
SIGINT.
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class StopRequest:
    """A received signal.

    Attributes:
        signal: its number; None: none received yet.
    """

    def __init__(self) -> None:
        self.signal: int | None = None


@contextmanager
def stop_on_signals() -> Iterator[StopRequest]:
    """Record SIGTERM and SIGINT inside the block instead of ending the process at once.

    A second signal takes effect immediately. When the block ends, a recorded signal is raised
    again: SIGINT becomes a KeyboardInterrupt, SIGTERM ends the process. Has no effect outside the
    main thread, where Python does not allow signal handlers.
    """
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    # A signal that is ignored (a job in the background, nohup) stays ignored.
    usual = {
        number: handler
        for number in SIGNALS
        if (handler := signal.getsignal(number)) is not signal.SIG_IGN
    }

    def restore() -> None:
        for number, handler in usual.items():
            signal.signal(number, handler)

    def record(number: int, _frame: FrameType | None) -> None:
        request.signal = number
        restore()

    for number in usual:
        signal.signal(number, record)
    try:
        yield request
    finally:
        restore()
    if request.signal is not None:
        signal.raise_signal(request.signal)
