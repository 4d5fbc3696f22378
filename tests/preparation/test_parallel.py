import os
import signal

import pytest

from mg3d.preparation.parallel import WorkerDied, work_in_parallel


def double(number):
    return 2 * number


def threads(_):
    return os.environ["OMP_NUM_THREADS"]


def die_at_3(number):
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def fail(number):
    raise KeyError(number)


def test_without_processes_results_come_in_order():
    assert work_in_parallel(double, [3, 1, 2], workers=0) == [6, 2, 4]


def test_few_items_need_no_process(monkeypatch):
    monkeypatch.setattr("mg3d.preparation.parallel._in_processes", None)
    assert work_in_parallel(double, [1]) == [2]


def test_one_that_dies_takes_only_its_own_item_along():
    results = work_in_parallel(die_at_3, list(range(8)), workers=2)
    assert isinstance(results.pop(3), WorkerDied)
    assert results == [0, 1, 2, 4, 5, 6, 7]


def test_each_process_has_one_thread_and_the_caller_keeps_its_own(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    assert work_in_parallel(threads, [1, 2], workers=1) == ["1", "1"]
    assert os.environ["OMP_NUM_THREADS"] == "7"
    assert "MKL_NUM_THREADS" not in os.environ


@pytest.mark.parametrize("workers", [0, 1])
def test_an_error_of_the_work_reaches_the_caller(workers):
    with pytest.raises(KeyError):
        work_in_parallel(fail, [1], workers=workers)


def test_less_than_no_worker_is_refused():
    with pytest.raises(ValueError, match=r"workers must be 0 \(none\) or more, got -1"):
        work_in_parallel(double, [1], workers=-1)


def test_progress_goes_to_stderr_when_asked_for(capsys):
    work_in_parallel(double, [1, 2], workers=0, progress=True, label="doubling")
    shown = capsys.readouterr()
    assert "doubling" in shown.err
    assert shown.out == ""
    work_in_parallel(double, [1, 2], workers=0)
    assert capsys.readouterr().err == ""
