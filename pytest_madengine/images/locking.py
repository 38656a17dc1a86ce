"""A lock that processes of one host share."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from pytest_madengine.errors import EngineError
from pytest_madengine.util.locks import wait_for


@contextlib.contextmanager
def host_lock(path: Path) -> Iterator[None]:
    """Holds the lock file; the kernel releases it when this process dies.

    :raises EngineError: the file cannot be made, or an end was asked for while somebody else held the lock.
    """
    from filelock import FileLock, Timeout

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path)

        def attempt() -> bool:
            try:
                lock.acquire(blocking=False)
            except Timeout:
                return False
            return True

        wait_for(attempt, path)
    except OSError as error:
        raise EngineError(f"{path}: {error.strerror or error}") from None
    try:
        yield
    finally:
        lock.release()
