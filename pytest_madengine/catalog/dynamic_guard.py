"""Runs a Python program of which nothing is left afterwards: ``python -I guard.py PROGRAM ARGUMENT ...``.

The program runs in a fork of this process, which stays as the "child subreaper": whatever the program
starts, also a daemon in a session of its own, becomes a child of this process when its parent ends, so it is
found and killed.  That happens when the program ends, and when standard input is closed at its other end,
because the owner is done or died in whatever way.  The program may read standard input; this process only
looks whether somebody could still write to it.  Exits like the program does.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import runpy
import select
import signal
import sys
import time
from pathlib import Path

#: Seconds for which processes that appear anew are killed.
PATIENCE = 10.0
_SET_CHILD_SUBREAPER = 36


def main(argv: list[str]) -> int:
    """Exit status of the program; negative for a signal."""
    # Where there is no such call, the children of the program itself are found all the same.
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    program = os.fork()
    if program == 0:
        sys.argv = argv
        runpy.run_path(argv[0], run_name="__main__")
        sys.exit(0)
    # The program's pipes must close when the program closes them; nothing else was passed on.
    os.closerange(3, 1 + max(3, *map(int, filter(str.isdecimal, argv[1:]))))
    status = _wait(program)
    end_descendants()
    return -signal.SIGKILL if status is None else os.waitstatus_to_exitcode(status)


def _wait(program: int) -> int | None:
    """How the program ended; ``None`` when the owner went away first."""
    ended, tell = os.pipe()
    os.set_blocking(tell, False)
    signal.set_wakeup_fd(tell)
    # A handler, unlike "ignore", does not keep a parent from learning how its child ended.
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: None)
    poll = select.poll()
    poll.register(0, 0)  # only that its other end is closed
    poll.register(ended, select.POLLIN)
    while True:
        # First look, then wait: the program may have ended before the handler was there.
        with contextlib.suppress(ChildProcessError):
            while (found := os.waitpid(-1, os.WNOHANG)) != (0, 0):
                if found[0] == program:
                    return found[1]
        for descriptor, _ in poll.poll():
            if descriptor == 0 or os.read(ended, 4096).strip(bytes([signal.SIGCHLD])):
                return None


def end_descendants() -> None:
    """Kills and reaps all children and what they started, until there are none.

    A process of another user (``sudo``) cannot be killed and is left after a while.
    """
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        for pid in _descendants():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        try:
            while os.waitpid(-1, os.WNOHANG) != (0, 0):
                pass
        except ChildProcessError:
            return
        time.sleep(0.005)  # killed, but not gone


def _descendants() -> list[int]:
    """All processes whose line of parents leads to this one."""
    parents: dict[int, int] = {}
    for place in Path("/proc").iterdir():
        if place.name.isdecimal():
            with contextlib.suppress(OSError):
                text = (place / "stat").read_bytes().rpartition(b")")[2]
                parents[int(place.name)] = int(text.split()[1])
    family = {os.getpid()}
    grown = True
    while grown:
        more = {pid for pid, parent in parents.items() if parent in family} - family
        family |= more
        grown = bool(more)
    return sorted(family - {os.getpid()})


if __name__ == "__main__":
    code = main(sys.argv[1:])
    if code < 0:
        with contextlib.suppress(OSError):  # SIGKILL has no handler to reset
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    sys.exit(code)
