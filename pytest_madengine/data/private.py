"""Directories for data that is not kept: removed by their owner, or by the next one when it died."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path
from typing import Final

from pytest_madengine.errors import DataError
from pytest_madengine.util.files import remove_tree
from pytest_madengine.util.locks import take, try_take

_LOCK: Final = ".lock"


class PrivateDownloads:
    """Private directories of one process below ``base``.

    The process holds a lock inside its own directory; one whose lock is free belonged to a process that
    died, and goes away when the next one begins.  Nothing is made before the first :meth:`new`.
    """

    def __init__(self, base: Path) -> None:
        self._base = base
        self._own: Path | None = None
        self._lock = -1
        self._made: set[Path] = set()

    def new(self) -> Path:
        """A new empty directory.

        :raises DataError: it cannot be made.
        """
        try:
            own = self._own or self._begin()
            path = own / secrets.token_hex(4)
            path.mkdir()
        except OSError as error:
            raise DataError(
                f"download directory {self._base}: {error.strerror or error}",
                hint="choose a writable directory with --mad-results-dir, or a mirror",
            ) from None
        self._made.add(path)
        return path

    def remove(self, path: Path) -> None:
        """Removes a directory that :meth:`new` made, or the one around the path; others are left alone."""
        for made in [made for made in self._made if path == made or made in path.parents]:
            _remove_tree(made)
            self._made.discard(made)

    def close(self) -> None:
        """Removes everything of this process."""
        if self._own is None:
            return
        _remove_tree(self._own)
        os.close(self._lock)
        self._own, self._lock = None, -1
        self._made.clear()

    def _begin(self) -> Path:
        # Others are removed under this lock only, so that a new directory is never seen without its lock.
        self._base.mkdir(parents=True, exist_ok=True)
        gate = os.open(self._base, os.O_RDONLY | os.O_DIRECTORY)
        try:
            take(gate, self._base)
            self._reap()
            own = self._base / f"{os.getpid()}-{secrets.token_hex(4)}"
            own.mkdir(mode=0o700)
            lock = os.open(own / _LOCK, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
            take(lock, own)
        finally:
            os.close(gate)
        self._own, self._lock = own, lock
        return own

    def _reap(self) -> None:
        for path in self._base.iterdir():
            try:
                with (path / _LOCK).open("rb") as lock:
                    if not try_take(lock.fileno()):
                        continue
            except FileNotFoundError:
                pass  # died before it had the lock
            except OSError:
                continue
            _remove_tree(path)


def _remove_tree(path: Path) -> None:
    """Removes a directory; what cannot be removed is left for the next process."""
    with contextlib.suppress(OSError):
        remove_tree(path)
