import os
import signal
import threading

import pytest

from mg3d.training.stopping import stop_on_signals


@pytest.fixture(autouse=True)
def signals_as_in_a_terminal():
    """Python's own handlers; a process in the background is started with SIGINT ignored."""
    usual = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
    before = {number: signal.signal(number, handler) for number, handler in usual.items()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_a_signal_that_was_ignored_stays_ignored():
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with stop_on_signals() as request:
        os.kill(os.getpid(), signal.SIGINT)
    assert request.signal is None
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def test_a_signal_is_noted_and_has_its_usual_effect_afterwards():
    before = signal.getsignal(signal.SIGINT)
    noted = []

    def block():
        with stop_on_signals() as request:
            os.kill(os.getpid(), signal.SIGINT)
            noted.append(request.signal)  # the block goes on

    with pytest.raises(KeyboardInterrupt):
        block()
    assert noted == [signal.SIGINT]
    assert signal.getsignal(signal.SIGINT) is before


def test_a_caller_s_own_handler_gets_the_signal():
    got = []
    before = signal.signal(signal.SIGTERM, lambda number, _: got.append(number))
    try:
        with stop_on_signals() as request:
            os.kill(os.getpid(), signal.SIGTERM)
            assert (request.signal, got) == (signal.SIGTERM, [])
        assert got == [signal.SIGTERM]
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_second_signal_is_not_held_back():
    def block():
        with stop_on_signals():
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)
            pytest.fail("the second one must not be swallowed")

    with pytest.raises(KeyboardInterrupt):
        block()


def test_without_a_signal_nothing_is_changed():
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    with stop_on_signals() as request:
        pass
    assert request.signal is None
    assert before == [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]


def test_an_error_inside_the_block_is_not_hidden_by_the_signal():
    def block():
        with stop_on_signals():
            os.kill(os.getpid(), signal.SIGINT)
            raise KeyError("any")

    with pytest.raises(KeyError):
        block()


def test_outside_the_main_thread_it_does_nothing():
    seen = []

    def work():
        with stop_on_signals() as request:
            seen.append(request.signal)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [None]
