"""A lock that processes of one host share."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from pytest_madengine.errors import EngineError

#: Seconds between two looks at a lock that another process holds.
_POLL: Final = 0.1


@contextlib.contextmanager
def host_lock(path: Path) -> Iterator[None]:
    """Holds the lock file; the kernel releases it when this process dies.

    :raises EngineError: the file cannot be made.
    """
    from filelock import FileLock

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path)
        lock.acquire(poll_interval=_POLL)
    except OSError as error:
        raise EngineError(f"{path}: {error.strerror or error}") from None
    try:
        yield
    finally:
        lock.release()
