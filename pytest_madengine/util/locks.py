"""Waiting for a lock: an end that was asked for ends the wait, and a long one says whom it waits for."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import math
import os
import re
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, Final

from pytest_madengine.util.ends import asked

#: Seconds of silence: most locks are held for milliseconds.
NOTICE: Final = 5.0
#: Seconds between two looks: first, longest.  No system call waits for a lock and for an end at once.
_POLL: Final = (0.002, 0.1)
#: ``1: FLOCK  ADVISORY  WRITE 1234 08:01:5678 0 EOF``, proc(5); those who wait have an arrow before the kind.
_LINE: Final = re.compile(r"\d+:\s+\w+\s+\w+\s+\w+\s+(-?\d+)\s+([0-9a-f]+):([0-9a-f]+):(\d+)\s", re.ASCII)


class LockError(OSError):
    """A lock was held by somebody else until the wait for it was given up."""


Tell = Callable[[str], None]


def _to_stderr(text: str) -> None:
    if sys.__stderr__ is not None:
        sys.__stderr__.write(f"{text}\n")
        sys.__stderr__.flush()


_tell: Tell = _to_stderr


def tell_with(tell: Tell) -> Callable[[], None]:
    """Where notices of long waits go from now on, from whatever thread; returns the undo."""
    global _tell
    previous, _tell = _tell, tell

    def restore() -> None:
        global _tell
        _tell = previous

    return restore


def announce(text: str) -> None:
    """Says to the person at the terminal what this process waits for; never fails."""
    try:
        _tell(f"pytest-madengine: {text}")
    except (OSError, ValueError):  # the terminal was closed
        return


def try_take(descriptor: int, *, shared: bool = False) -> bool:
    """Takes the ``flock`` of an open file; false when somebody else holds it."""
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def take(
    descriptor: int,
    path: Path,
    *,
    shared: bool = False,
    limit: float = math.inf,
    check: Callable[[], None] = lambda: None,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Takes the ``flock`` of an open file, however long that takes.

    :param path: of the file, for people.
    :param limit: seconds after which it is given up.
    :param check: raises what else ends the wait.
    :raises LockError: an end was asked for meanwhile or the limit is over, and somebody else still holds it.
    """
    deadline = time.monotonic() + limit

    def look() -> None:
        check()
        if time.monotonic() >= deadline:
            raise _given_up(path)

    wait_for(lambda: try_take(descriptor, shared=shared), path, check=look, sleep=sleep)


@contextlib.contextmanager
def locked(path: Path, mode: str = "a+b") -> Iterator[IO[bytes]]:
    """Opens a file, below directories that are made, and holds its lock; it goes with this process.

    :raises LockError: an end was asked for while somebody else held it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open(mode) as stream:
        take(stream.fileno(), path)
        yield stream


def wait_for(
    attempt: Callable[[], bool],
    path: Path,
    *,
    check: Callable[[], None] = lambda: None,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Tries until the lock is taken.

    :param attempt: true when it took the lock.
    :param check: raises what else ends the wait.
    :raises LockError: an end was asked for meanwhile.
    """
    if attempt():
        return
    (pause, longest), start, told = _POLL, clock(), False
    while True:
        if asked():
            raise _given_up(path)
        check()
        sleep(pause)
        if attempt():
            return
        pause = min(pause * 1.5, longest)
        if not told and clock() - start >= NOTICE:
            told = True
            announce(f"waiting for {path}: {_held_by(path)}; Ctrl-C gives up")


def _given_up(path: Path) -> LockError:
    return LockError(errno.EAGAIN, f"gave up waiting for {path}: {_held_by(path)}", str(path))


def _held_by(path: Path) -> str:
    names = [f"process {pid} ({_command(pid)})" for pid in holders(path)]
    if names:
        return f"its lock is held by {', '.join(names)}"
    return f"its lock is held by a process that cannot be seen from here: try 'fuser -v {path}'"


def holders(path: Path) -> list[int]:
    """Process ids that hold a lock of this file, as far as they can be seen from here."""
    try:
        status = path.stat()
        text = Path("/proc/locks").read_text(encoding="ascii", errors="replace")
    except OSError:
        return []
    device = (os.major(status.st_dev), os.minor(status.st_dev))
    return parse_locks(text.splitlines(), device, status.st_ino)


def parse_locks(lines: Iterable[str], device: tuple[int, int], inode: int) -> list[int]:
    """The holders in ``/proc/locks``, each once.

    Some file systems (btrfs, overlayfs) tell another device there than to ``stat``; then the inode decides.
    """
    exact: dict[int, None] = {}
    alike: dict[int, None] = {}
    for line in lines:
        match = _LINE.match(line)
        if match is None or int(match[4]) != inode or int(match[1]) <= 0:
            continue
        alike[int(match[1])] = None
        if (int(match[2], 16), int(match[3], 16)) == device:
            exact[int(match[1])] = None
    return list(exact or alike)


def _command(pid: int) -> str:
    """Name of the program; never its arguments, which may hold secrets."""
    try:
        text = Path(f"/proc/{pid}/comm").read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return "gone"
    return "".join(char if char.isprintable() else "?" for char in text)
