"""Interrupts wait for the end of a block."""

from __future__ import annotations

import signal
import threading

import pytest
from pytest_madengine.plugin.interrupts import held


def test_an_interrupt_waits() -> None:
    done = []
    with pytest.raises(KeyboardInterrupt), held():  # noqa: PT012 - what matters is that the block goes on
        signal.raise_signal(signal.SIGINT)
        done.append("after")
    assert done == ["after"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_second_one_does_not() -> None:
    done = []
    with pytest.raises(KeyboardInterrupt), held():  # noqa: PT012 - as above
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        done.append("after")
    assert done == []
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_the_handler_of_before_gets_it() -> None:
    seen: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: seen.append(number))
    try:
        with held():
            signal.raise_signal(signal.SIGTERM)
            assert seen == []
        assert seen == [signal.SIGTERM]
    finally:
        signal.signal(signal.SIGTERM, before)


def test_other_threads_are_left_alone() -> None:
    done = []

    def work() -> None:
        with held():
            done.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert done == [signal.default_int_handler]
