"""Locks of builds, pulls and pushes, which processes of one host share."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from pytest_madengine.errors import EngineError
from pytest_madengine.util.locks import locked


@contextlib.contextmanager
def host_lock(path: Path) -> Iterator[None]:
    """Holds the lock file; the kernel releases it when this process dies.

    :raises EngineError: the file cannot be made, or an end was asked for while somebody else held the lock.
    """
    with contextlib.ExitStack() as held:
        try:
            held.enter_context(locked(path))
        except OSError as error:
            raise EngineError(f"{path}: {error.strerror or error}") from None
        yield
