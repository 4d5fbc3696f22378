import os
import signal
import threading

import pytest

from mg3d.training.stopping import stop_on_signals


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
