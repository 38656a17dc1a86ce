"""Runs a command that must not outlive its owner; started as ``python -I -S guard.py COMMAND ...``.

Standard input is the lifeline: when it closes, because the owner died in whatever way, the command and all
its process group are ended.  Exits like the command does.  A program of its own because nothing in a killed
process can clean up, and a signal at the death of the parent would follow the parent's thread, not it.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import sys
import time

#: Seconds between asking and killing once the owner is gone.
GRACE = 3.0


def main(argv: list[str]) -> int:
    """Exit status of the command; negative for a signal."""
    # Signals for the group reach the command as well; this process stays to report how it ended.  A
    # handler, unlike "ignore", is not inherited by the command.
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: None)
    ended, tell = os.pipe()
    os.set_blocking(tell, False)
    signal.set_wakeup_fd(tell)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    process = subprocess.Popen(argv, stdin=subprocess.DEVNULL)
    with selectors.DefaultSelector() as selector:
        selector.register(0, selectors.EVENT_READ)
        selector.register(ended, selectors.EVENT_READ)
        while process.poll() is None:
            for key, _ in selector.select():
                if not os.read(key.fd, 4096) and key.fd == 0:
                    end_group(process)
                    break
    return process.wait()


def end_group(process: subprocess.Popen[bytes]) -> None:
    """Asks the process group to end, then kills it, this process included."""
    os.killpg(0, signal.SIGTERM)
    deadline = time.monotonic() + GRACE
    while process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    code = main(sys.argv[1:])
    if code < 0:
        with contextlib.suppress(OSError):  # SIGKILL has no handler to reset
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    sys.exit(code)
