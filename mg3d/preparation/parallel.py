"""Apply a function to many files in several processes; a killed process loses only its own file.

Processes are spawned, not forked, which is safe in a notebook that has used torch. Each uses one
thread, so that N processes use N cores.
"""

import multiprocessing
import os
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

FEW = 8  # for fewer items, no processes are started
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class WorkerDied:
    """Result of an item whose process was killed, most likely because memory ran out."""


def work_in_parallel(
    work: Callable[[Item], Result],
    items: Sequence[Item],
    *,
    workers: int | None = None,
    progress: bool | None = None,
    label: str = "",
) -> list[Result | WorkerDied]:
    """Apply `work` to every item; results are in the order of the items.

    Args:
        work: a function (or `functools.partial`) that a new process can import.
        items: its arguments.
        workers: processes; 0: work in this process; None: one per core, or 0 for few items.
        progress: show a progress bar on stderr; None: only in a terminal.
        label: of the progress bar.

    Raises:
        RuntimeError: if processes cannot be started.
    """
    from tqdm import tqdm

    if workers is None:
        workers = 0 if len(items) < FEW else _cores()
    if workers < 0:
        raise ValueError(f"workers must be 0 (none) or more, got {workers}")
    hidden = None if progress is None else not progress
    with tqdm(total=len(items), desc=label, disable=hidden, unit="file") as bar:
        if workers == 0:
            results: list[Result | WorkerDied] = []
            for item in items:
                results.append(work(item))
                bar.update()
            return results
        return _in_processes(work, items, min(workers, len(items) or 1), bar)


def _cores() -> int:
    """Number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _in_processes(
    work: Callable[[Item], Result], items: Sequence[Item], workers: int, bar: Any
) -> list[Result | WorkerDied]:
    results: dict[int, Result | WorkerDied] = {}
    waiting = deque(range(len(items)))
    # Items that were running when a process died. Which of them killed it is not known, so each is
    # run again in a process alone.
    suspects: list[int] = []
    with _one_thread_each():
        while waiting:
            suspects += _until_one_dies(work, items, workers, waiting, results, bar)
        for index in suspects:
            alone = deque([index])
            if _until_one_dies(work, items, 1, alone, results, bar):
                results[index] = WorkerDied()
                bar.update()
    return [results[index] for index in range(len(items))]


def _until_one_dies(
    work: Callable[[Item], Result],
    items: Sequence[Item],
    workers: int,
    waiting: deque[int],
    results: dict[int, Result | WorkerDied],
    bar: Any,
) -> list[int]:
    """Process `waiting` until it is empty or a process dies; returns the items then running."""
    running: dict[Future[Result], int] = {}
    with _pool(workers) as pool:
        try:
            while waiting or running:
                while waiting and len(running) < 2 * workers:
                    running[pool.submit(work, items[waiting[0]])] = waiting[0]
                    waiting.popleft()
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    results[running[future]] = future.result()
                    del running[future]
                    bar.update()
        except BrokenProcessPool:
            return sorted(running.values())
    return []


@contextmanager
def _pool(workers: int) -> Iterator[ProcessPoolExecutor]:
    pool = ProcessPoolExecutor(
        workers, mp_context=multiprocessing.get_context("spawn"), initializer=_end_with_parent
    )
    try:
        try:
            pool.submit(_cores).result()
        except BrokenProcessPool as error:
            raise RuntimeError(
                "worker processes cannot be started; in a script, call this below "
                "`if __name__ == '__main__':`, or use workers=0"
            ) from error
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def _end_with_parent() -> None:
    """End a worker when its parent is killed; otherwise it would wait for work forever."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


@contextmanager
def _one_thread_each() -> Iterator[None]:
    before = {name: os.environ.get(name) for name in THREADS}
    os.environ.update(dict.fromkeys(THREADS, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
