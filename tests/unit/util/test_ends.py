"""One end, whoever asks for it: signals, how often, and what was inherited."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator

import pytest
from pytest_madengine.util import ends
from pytest_madengine.util.ends import asked, handled, held, leave_terminal

every_signal = pytest.mark.parametrize("number", ends.SIGNALS, ids=lambda number: number.name)


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """As a shell starts a process in the foreground, whatever this one inherited."""
    before = {number: signal.getsignal(number) for number in ends.SIGNALS}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def undo() -> Iterator[Callable[[], None]]:
    restore = handled()
    yield restore
    restore()


@every_signal
def test_every_signal_is_an_interrupt(undo: Callable[[], None], number: signal.Signals) -> None:
    """faults 2.1: given a session / when SIGINT, SIGTERM or SIGHUP comes / then the main thread is
    interrupted, and everything that waits may know it."""
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(number)
    assert asked()
    undo()
    assert not asked()
    assert signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler)


def test_a_process_that_is_led_hears_the_first_signal_only() -> None:
    """faults 2.5: given a worker that hands back what it knows / when xdist interrupts it once more / then it
    goes on; the next session hears again."""
    restore = handled(led=True)
    try:
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        with held():
            for number in ends.SIGNALS:
                signal.raise_signal(number)
        signal.raise_signal(signal.SIGINT)
    finally:
        restore()
    restore = handled()
    try:
        for _ in range(2):
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(signal.SIGINT)
    finally:
        restore()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP], ids=lambda number: number.name)
def test_what_was_ignored_at_the_start_stays_ignored(number: signal.Signals) -> None:
    """faults 2.2: given nohup or ``cmd &`` / then that signal has no effect, and SIGTERM is heard."""
    signal.signal(number, signal.SIG_IGN)
    restore = handled()
    try:
        signal.raise_signal(number)
        with held():
            signal.raise_signal(number)
        assert not asked()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
    finally:
        restore()
    assert signal.getsignal(number) is signal.SIG_IGN


def test_termination_is_heard_even_when_it_was_ignored() -> None:
    """faults 2.2: a worker is told by SIGTERM, whatever it inherited."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    restore = handled()
    with pytest.raises(KeyboardInterrupt, match="SIGTERM"):
        signal.raise_signal(signal.SIGTERM)
    restore()


@pytest.mark.parametrize(
    ("numbers", "requests"),
    [
        ([signal.SIGINT, signal.SIGINT], 2),  # an impatient user
        ([signal.SIGINT, signal.SIGTERM], 1),  # the terminal, and the controlling process
        ([signal.SIGTERM, signal.SIGTERM], 1),  # timeout(1) tells the process and the group
        ([signal.SIGHUP, signal.SIGHUP, signal.SIGTERM], 1),  # the kernel, the shell, systemd
    ],
)
def test_one_end_told_twice(undo: Callable[[], None], numbers: list[signal.Signals], requests: int) -> None:
    seen = 0
    for number in numbers:
        try:
            signal.raise_signal(number)
        except KeyboardInterrupt:
            seen += 1
    assert seen == requests


@every_signal
def test_an_end_waits_for_the_block(undo: Callable[[], None], number: signal.Signals) -> None:
    done = []
    with pytest.raises(KeyboardInterrupt), held(), held():  # noqa: PT012 - the block goes on
        signal.raise_signal(number)
        assert asked()
        done.append("after")
    assert done == ["after"]


def test_a_second_request_does_not_wait() -> None:
    done = []
    with pytest.raises(KeyboardInterrupt), held():  # noqa: PT012 - as above
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        done.append("after")
    assert done == []
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_four_requests_do_not_cut_the_accounting(undo: Callable[[], None]) -> None:
    """faults 2.7: given an impatient user / then the last rows are written all the same."""
    done = []
    with pytest.raises(KeyboardInterrupt), held(patience=3):  # noqa: PT012 - as above
        for _ in range(3):
            signal.raise_signal(signal.SIGINT)
        done.append("rows")
        signal.raise_signal(signal.SIGINT)
        done.append("never")
    assert done == ["rows"]


def test_the_handler_of_before_gets_it() -> None:
    seen: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, frame: seen.append(number))
    with held():
        signal.raise_signal(signal.SIGTERM)
        assert seen == []
    assert seen == [signal.SIGTERM]
    assert not asked()


def test_other_threads_are_left_alone() -> None:
    done = []

    def work() -> None:
        handled()()
        with held():
            done.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert done == [signal.default_int_handler]


def test_a_closed_terminal_swallows_what_is_written() -> None:
    """faults 2.1: given a terminal that was closed / when a process goes on writing its rows / then writing
    to the terminal, also through a copy of the descriptor, is no error; other files are left alone."""
    leader, terminal = pty.openpty()
    copy, (reader, writer) = os.dup(terminal), os.pipe()
    os.close(leader)
    with pytest.raises(OSError, match="Input/output"):
        os.write(terminal, b"lost")
    leave_terminal()
    assert os.write(terminal, b"lost") == os.write(copy, b"lost") == 4
    os.write(writer, b"kept")
    assert os.read(reader, 10) == b"kept"
    for descriptor in (terminal, copy, reader, writer):
        os.close(descriptor)


def test_an_open_terminal_is_left_alone() -> None:
    leader, terminal = pty.openpty()
    leave_terminal()
    os.write(terminal, b"seen")
    assert os.read(leader, 10) == b"seen"
    os.close(terminal)
    os.close(leader)


def test_what_is_not_ours_dies_of_termination_as_before() -> None:
    """Outside of a session the handlers are those of Python."""
    code = "from pytest_madengine.util.ends import handled; handled()(); import os; os.kill(os.getpid(), 15)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -signal.SIGTERM
