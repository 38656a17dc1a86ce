"""What a mirror holds: which version of which remote file lies here, and how it looked when it arrived."""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

from pytest_madengine.data.store import RemoteFile
from pytest_madengine.util.files import write_atomic

_FORMAT: Final = 1


@dataclass(frozen=True)
class Held:
    """One file that arrived."""

    #: Version and size (bytes) of the remote file.
    version: str
    size: int
    #: Modification time of the file here in nanoseconds.
    modified_ns: int


class Manifest:
    """A JSON-lines file beside the data: a header with the source, then one line per file that arrived.

    Lines are appended as files arrive, so that a killed process loses nothing; later lines win, and a
    line cut short is ignored.  A manifest of another source counts as empty: the files it names are ours
    all the same (:attr:`foreign`).  Use it under the lock of the mirror only.
    """

    def __init__(self, path: Path, source: str) -> None:
        self._path = path
        self._source = source
        self.held: dict[str, Held] = {}
        self.foreign: dict[str, Held] = {}
        self._stream: IO[str] | None = None
        held, origin = self._read()
        if origin == source:
            self.held = held
        else:
            self.foreign = held

    def holds(self, file: RemoteFile, directory: Path) -> bool:
        """True when this very version lies below the directory, unchanged since it arrived."""
        held = self.held.get(file.path)
        if held is None or (held.version, held.size) != (file.version, file.size):
            return False
        return looks_as(directory / file.path, held)

    def add(self, file: RemoteFile, path: Path) -> None:
        """A file arrived, or was found to be there already."""
        held = Held(file.version, file.size, path.stat().st_mtime_ns)
        self.held[file.path] = held
        if self._stream is None:
            self.write()
            self._stream = self._path.open("a", encoding="utf-8", errors="surrogateescape")
        self._stream.write(_line(file.path, held))
        self._stream.flush()

    def write(self) -> None:
        """Writes the whole manifest, each file once."""
        self.close()
        lines = [json.dumps({"format": _FORMAT, "source": self._source}) + "\n"]
        lines += [_line(path, held) for path, held in sorted(self.held.items())]
        write_atomic(self._path, "".join(lines))

    def close(self) -> None:
        """Closes the file."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def _read(self) -> tuple[dict[str, Held], str]:
        try:
            text = self._path.read_text(encoding="utf-8", errors="surrogateescape")
        except FileNotFoundError:
            return {}, self._source
        entries = _objects(text)
        header = next(entries, {})
        if header.get("format") != _FORMAT:
            return {}, ""
        held = {}
        for entry in entries:
            match entry:
                case {"path": str(path), "version": str(version), "size": int(size), "mtime_ns": int(ns)}:
                    held[path] = Held(version, size, ns)
        return held, str(header.get("source", ""))


def looks_as(path: Path, held: Held) -> bool:
    """True when a regular file has the size and time of an arrived one."""
    try:
        status = path.lstat()
    except (OSError, ValueError):
        return False
    return stat.S_ISREG(status.st_mode) and (status.st_size, status.st_mtime_ns) == (
        held.size,
        held.modified_ns,
    )


def _line(path: str, held: Held) -> str:
    entry = {"path": path, "version": held.version, "size": held.size, "mtime_ns": held.modified_ns}
    return json.dumps(entry) + "\n"


def _objects(text: str) -> Iterator[dict[str, Any]]:
    for line in text.splitlines():
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(value, dict):
            yield value
