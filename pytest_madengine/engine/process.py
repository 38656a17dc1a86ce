"""A command that runs under a limit while its output is read, and of which nothing is left afterwards."""

from __future__ import annotations

import contextlib
import errno
import os
import selectors
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from shutil import which
from typing import Final

#: Seconds between asking a command to end and killing it.
GRACE: Final = 10.0
#: The same when nobody wants its result any more.
GRACE_AT_END: Final = 5.0
#: Seconds without output after which a command's watch looks whether it can still come to an end.
WATCH_PERIOD: Final = 5.0
_CHUNK: Final = 64 * 1024
_GUARD: Final = Path(__file__).with_name("guard.py")


#: Commands of this process that run now, from whatever thread.
_running: set[subprocess.Popen[bytes]] = set()


def end_running(grace: float = GRACE_AT_END) -> None:
    """Ends all running commands of this process without waiting for it; their callers see how they ended.

    They are asked at once and killed after the grace period.
    """
    asked = list(_running)
    for process in asked:
        _signal(process, signal.SIGTERM)

    def kill() -> None:
        for process in asked:
            if process in _running and process.returncode is None:
                _signal(process, signal.SIGKILL)

    timer = threading.Timer(grace, kill)
    timer.daemon = True
    timer.start()


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
    watch: Callable[[], None] | None = None,
    period: float = WATCH_PERIOD,
) -> Ended:
    """Runs a command in a process group of its own; stdout and stderr go to ``output`` as they come.

    At the limit, and when the caller is interrupted, the whole group is ended: asked first, killed after the
    grace period.  When this process dies, even by SIGKILL, a guard beside the command ends the group.

    :param timeout: seconds; ``None`` is no limit.
    :param watch: called after every ``period`` seconds without output; what it raises ends the command.
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
        expired = not _pump(process, output, deadline, watch, period)
        if expired:
            _end(process, output, grace)
        return Ended(process.wait(), expired)
    except BaseException:
        # Also KeyboardInterrupt: no output is wanted any more, only that nothing is left running.
        _end(process, lambda _data: None, min(grace, GRACE_AT_END))
        raise
    finally:
        _running.discard(process)
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                stream.close()


def _pump(
    process: subprocess.Popen[bytes],
    output: Callable[[bytes], None],
    deadline: float | None,
    watch: Callable[[], None] | None = None,
    period: float = WATCH_PERIOD,
) -> bool:
    """Reads until the command closed its output and ended; false when the deadline came first."""
    assert process.stdout is not None
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while True:
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                return False
            quiet = left if watch is None else min(period, period if left is None else left)
            if not selector.select(quiet):
                if watch is not None:
                    watch()
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
