"""The end of a process before its time: one state, whoever asked for it.

SIGINT (Ctrl-C), SIGTERM (a CI system, a scheduler) and SIGHUP (a closed terminal) mean the same here: the
main thread gets a :class:`KeyboardInterrupt`, what runs is stopped, and every selected model gets its row.
SIGINT and SIGHUP stay ignored in a process that was started so (``nohup``, ``cmd &`` in a script): its
starter wants it to outlive them.  SIGTERM is always heard, whatever was inherited.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Final

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
#: Heard even when it was ignored at the start.
ALWAYS: Final = frozenset({signal.SIGTERM})
#: One end is often told several times: by the terminal to the group, by a shell to its jobs, by the
#: controlling process to its workers.  Within so many seconds that is no second request.
SAME_END: Final = 2.0


@dataclass
class _State:
    """What this process was told so far."""

    #: The first signal and its time; 0 for none.
    number: int = 0
    since: float = 0.0
    #: Another process ends this one by force when it takes too long: only the first signal counts.
    led: bool = False
    depth: int = 0
    patience: int = 1
    #: Signals that came inside of :func:`held`.
    came: list[int] = field(default_factory=list)

    def heed(self, number: int) -> bool:
        """Notes a signal; false when it only repeats what is known."""
        if number == signal.SIGHUP:
            leave_terminal()
        now = time.monotonic()
        first = not self.number
        if self.led and not first:
            return False
        impatient = number == self.number == signal.SIGINT
        late = now - self.since > SAME_END and number != signal.SIGHUP
        if not (first or impatient or late):
            return False
        self.number, self.since = number, now
        return True


_state = _State()


def asked() -> bool:
    """True from the first signal to the end of the session: nothing is to be waited for any more."""
    return bool(_state.number)


def handled(*, led: bool = False) -> Callable[[], None]:
    """From now on the signals raise KeyboardInterrupt in the main thread; returns the undo.

    Nothing is done outside of the main thread, which alone may set handlers.

    :param led: another process sees to it that this one ends: repeated signals do not cut short what it does
        at its end.
    """
    if threading.current_thread() is not threading.main_thread():
        return lambda: None
    previous = {
        number: signal.signal(number, _end)
        for number in SIGNALS
        if number in ALWAYS or signal.getsignal(number) not in (signal.SIG_IGN, None)
    }
    if _end not in previous.values():
        _forget()
        _state.led = led

    def restore() -> None:
        for number, handler in previous.items():
            signal.signal(number, handler)
        if _end not in previous.values():
            _forget()
            _state.led = False

    return restore


@contextmanager
def held(patience: int = 1) -> Iterator[None]:
    """The signals take effect after the block; one request more than ``patience`` does not wait.

    Waits that know :func:`asked` end at once.  Outside of the main thread signals never arrive, and nothing
    is done.
    """
    if threading.current_thread() is not threading.main_thread() or _state.depth:
        yield
        return
    previous = {
        number: signal.signal(number, _note)
        for number in SIGNALS
        if signal.getsignal(number) not in (signal.SIG_IGN, None)
    }
    _state.depth, _state.came, _state.patience = 1, [], patience
    try:
        yield
    finally:
        _state.depth = 0
        for number, handler in previous.items():
            signal.signal(number, handler)
        came = _state.came[0] if _state.came else 0
        _state.came = []
        if came and previous[signal.Signals(came)] is not _end:
            _forget()
    if came and previous[signal.Signals(came)] is _end:
        raise _interrupt(came)
    if came:
        signal.raise_signal(came)


def leave_terminal() -> None:
    """What is still written to a terminal that was closed goes nowhere: each time would be an error."""
    with Path(os.devnull).open("r+b", buffering=0) as nothing:
        for entry in list(Path("/proc/self/fd").iterdir()):
            descriptor = int(entry.name)
            if descriptor != nothing.fileno() and _is_closed_terminal(descriptor):
                with contextlib.suppress(OSError):
                    os.dup2(nothing.fileno(), descriptor, inheritable=os.get_inheritable(descriptor))


def _is_closed_terminal(descriptor: int) -> bool:
    try:
        target = str(Path(f"/proc/self/fd/{descriptor}").readlink())
    except OSError:  # the descriptor of the listing itself
        return False
    if not target.startswith(("/dev/pts/", "/dev/tty", "/dev/console")):
        return False
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    return any(events & (select.POLLHUP | select.POLLERR) for _, events in poll.poll(0))


def _interrupt(number: int) -> KeyboardInterrupt:
    if number == signal.SIGINT:
        return KeyboardInterrupt()
    return KeyboardInterrupt(f"terminated by {signal.Signals(number).name}")


def _end(number: int, frame: FrameType | None) -> None:
    if _state.heed(number):
        raise _interrupt(number)


def _note(number: int, frame: FrameType | None) -> None:
    if not _state.heed(number):
        return
    _state.came.append(number)
    if len(_state.came) > _state.patience:
        raise _interrupt(number)


def _forget() -> None:
    _state.number, _state.since = 0, 0.0
