"""A command that runs under a limit while its output is read, and of which nothing is left afterwards."""

from __future__ import annotations

import contextlib
import errno
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from shutil import which
from typing import Final

#: Seconds between asking a command to end and killing it.
GRACE: Final = 10.0
_CHUNK: Final = 64 * 1024
_GUARD: Final = Path(__file__).with_name("guard.py")


#: Commands of this process that run now, from whatever thread.
_running: set[subprocess.Popen[bytes]] = set()


def end_running() -> None:
    """Asks all running commands of this process to end; their callers see how they ended."""
    for process in list(_running):
        _signal(process, signal.SIGTERM)


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    #: Exit status; negative: the signal that killed it.
    code: int
    timed_out: bool = False


def run_streaming(
    argv: Sequence[str],
    *,
    environ: Mapping[str, str],
    cwd: Path,
    output: Callable[[bytes], None],
    timeout: float | None = None,
    grace: float = GRACE,
) -> Ended:
    """Runs a command in a process group of its own; stdout and stderr go to ``output`` as they come.

    At the limit, and when the caller is interrupted, the whole group is ended: asked first, killed after the
    grace period.  When this process dies, even by SIGKILL, a guard beside the command ends the group.

    :param timeout: seconds; ``None`` is no limit.
    :raises OSError: the command cannot be started.
    """
    if which(argv[0], path=environ.get("PATH")) is None:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), argv[0])
    # The write end of its stdin is ours alone: however this process ends, the guard sees it close.
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", str(_GUARD), *argv],
        env=dict(environ),
        cwd=cwd,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    _running.add(process)
    try:
        deadline = None if timeout is None else time.monotonic() + timeout
        expired = not _pump(process, output, deadline)
        if expired:
            _end(process, output, grace)
        return Ended(process.wait(), expired)
    except BaseException:
        # Also KeyboardInterrupt: no output is wanted any more, only that nothing is left running.
        _end(process, lambda _data: None, grace)
        raise
    finally:
        _running.discard(process)
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                stream.close()


def _pump(process: subprocess.Popen[bytes], output: Callable[[bytes], None], deadline: float | None) -> bool:
    """Reads until the command closed its output and ended; false when the deadline came first."""
    assert process.stdout is not None
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while True:
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                return False
            if not selector.select(left):
                continue
            data = os.read(process.stdout.fileno(), _CHUNK)
            if not data:
                break
            output(data)
    return _waited(process, None if deadline is None else max(deadline - time.monotonic(), 0))


def _waited(process: subprocess.Popen[bytes], timeout: float | None) -> bool:
    try:
        process.wait(timeout)
    except subprocess.TimeoutExpired:
        return False
    return True


def _end(process: subprocess.Popen[bytes], output: Callable[[bytes], None], grace: float) -> None:
    """Ends the group; what it prints meanwhile still reaches ``output``."""
    _signal(process, signal.SIGTERM)
    try:
        _pump(process, output, time.monotonic() + grace)
    finally:
        # Always: the leader may be gone while a child of it ignored the first signal, and an impatient
        # user interrupts twice.
        _signal(process, signal.SIGKILL)
        process.wait()


def _signal(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    # The leader's pid is the group's id, and stays taken while any member lives.
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)
