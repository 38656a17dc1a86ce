"""Files: atomic replacement, locked appending, names safe for a path."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import tempfile
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import IO


def utc_now() -> str:
    """The current time as UTC ISO-8601 with seconds, e.g. ``2026-11-23T21:00:00Z``."""
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def write_atomic(path: Path, text: str) -> None:
    """Writes the whole file or nothing: a reader never sees half of it, also after a crash.

    :raises OSError: the directory cannot be written or is full; the old file is then untouched.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    temporary = Path(name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        mode = path.stat().st_mode & 0o777 if path.exists() else 0o666 & ~_umask()
        temporary.chmod(mode)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _umask() -> int:
    value = os.umask(0)
    os.umask(value)
    return value


@contextlib.contextmanager
def locked(path: Path, mode: str = "a+b") -> Iterator[IO[bytes]]:
    """Opens a file and holds an exclusive advisory lock (``flock``) on the file itself."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open(mode) as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield stream


def append_line(path: Path, line: str) -> None:
    """Appends one line under the lock of the file, in one ``write`` call."""
    with locked(path, "ab") as stream:
        stream.write(line.encode("utf-8", "surrogateescape") + b"\n")


def safe_name(text: str) -> str:
    """A text as one path component: characters outside ``[A-Za-z0-9._-]`` become ``_`` (contract 8.2)."""
    return re.sub(r"[^A-Za-z0-9._-]", "_", text)
