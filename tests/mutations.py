"""Seeded damage to bytes, and a time limit for whoever reads them."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

MOST_SECONDS = 20  # of one case; a hang is refused long before the test run is


def mutated(content: bytes, generator: np.random.Generator, until: int | None = None) -> bytes:
    """One to three changes among the first `until` bytes: set, flip, cut, put in, repeat, swap."""
    data = bytearray(content)
    end = min(until or len(data), len(data))
    for _ in range(int(generator.integers(1, 4))):
        kind, place = int(generator.integers(7)), int(generator.integers(end))
        place = min(place, len(data) - 1)
        length = int(generator.integers(1, 9))
        if kind == 0:
            data[place] = int(generator.integers(256))
        elif kind == 1:
            data[place] ^= 1 << int(generator.integers(8))
        elif kind == 2:
            data[place : place + length] = generator.bytes(len(data[place : place + length]))
        elif kind == 3:
            del data[place : place + length]
        elif kind == 4:
            data[place:place] = generator.bytes(length)
        elif kind == 5:
            extremes = (b"\0", b"\xff", b"\x7f\xff", b"\x80\0", b"-", b"9", b" ", b"\n")
            piece = extremes[int(generator.integers(len(extremes)))] * length
            data[place : place + len(piece)] = piece[: len(data) - place]
        elif len(data) > 1 and generator.random() < 0.3:
            del data[place:]
        if not data:
            return b""
    return bytes(data)


@contextmanager
def time_limit(seconds: float = MOST_SECONDS) -> Iterator[None]:
    """Raise TimeoutError in the block when it takes longer (where the system has an alarm)."""
    if not hasattr(signal, "setitimer"):
        yield
        return

    def stop(*_: object) -> None:
        raise TimeoutError(f"a reader took more than {seconds} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
