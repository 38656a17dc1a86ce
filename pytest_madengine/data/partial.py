"""A file on its way: written part by part, taken up again by a later process."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pytest_madengine.data.store import RemoteFile
from pytest_madengine.util.processes import boot_id

#: Bytes of one part; larger files are read by several workers at once.
PART_SIZE: Final = 16 * 1024 * 1024


@dataclass(frozen=True)
class Part:
    """A stretch of a file."""

    index: int
    start: int
    length: int


class PartialFile:
    """A ``.partial`` file with, for a file of several parts, a journal of those that are finished.

    The journal names the version of the remote file and the boot of this host: after a crash of the
    host nobody knows what reached the disk, so that everything is read again.
    """

    def __init__(self, staging: Path, file: RemoteFile, part_size: int = PART_SIZE) -> None:
        self.path = partial_path(staging, file)
        self.file = file
        self.parts = _parts(file.size, part_size)
        self._journal = self.path.with_suffix(".journal")
        self._identity = {
            "version": file.version,
            "size": file.size,
            "part_size": part_size,
            "boot": boot_id(),
        }
        self._done: set[int] = set()
        self._descriptor = -1

    def open(self) -> None:
        """Takes up what an earlier process left, or begins.

        :raises OSError: it cannot be written.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._done = self._finished_before() if len(self.parts) > 1 else set()
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        self._descriptor = os.open(self.path, flags | (0 if self._done else os.O_TRUNC), 0o666)
        if len(self.parts) > 1 and not self._done:
            self._journal.write_text(json.dumps(self._identity) + "\n", encoding="utf-8")

    @property
    def missing(self) -> list[Part]:
        """Parts that must still be read."""
        return [part for part in self.parts if part.index not in self._done]

    @property
    def resumed(self) -> int:
        """Bytes that need not be read again."""
        return sum(part.length for part in self.parts if part.index in self._done)

    def write(self, offset: int, data: bytes) -> None:
        """Writes at a place.  Threads may write different parts.

        :raises OSError: the disk is full or broken.
        """
        view = memoryview(data)
        while view:
            written = os.pwrite(self._descriptor, view, offset)
            offset, view = offset + written, view[written:]

    def finish(self, part: Part) -> None:
        """Records that a part is whole."""
        if len(self.parts) > 1:
            with self._journal.open("ab") as journal:
                journal.write(b"%d\n" % part.index)

    def read_into(self, buffer: memoryview, offset: int) -> int:
        """Fills a buffer with what was written from a place on; returns how many bytes there were."""
        return os.preadv(self._descriptor, [buffer], offset)

    def move_to(self, target: Path) -> None:
        """Gives the file its final name; whoever reads the old one keeps it.

        :raises OSError: the name is taken by a directory, or the disk is broken.
        """
        if self.file.modified is not None:
            os.utime(self._descriptor, (self.file.modified, self.file.modified))
        self.close()
        self.path.replace(target)
        self._journal.unlink(missing_ok=True)

    def discard(self) -> None:
        """Forgets everything."""
        self.close()
        self.path.unlink(missing_ok=True)
        self._journal.unlink(missing_ok=True)
        self._done.clear()

    def close(self) -> None:
        """Closes the file; what is there can be taken up later."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _finished_before(self) -> set[int]:
        try:
            lines = self._journal.read_text(encoding="utf-8").splitlines(keepends=True)
            if not self.path.is_file() or not lines or json.loads(lines[0]) != self._identity:
                return set()
        except (OSError, ValueError):
            return set()
        known = {part.index for part in self.parts}
        # A last line without newline belongs to a process that died in the middle of it.
        whole = [line.strip() for line in lines[1:] if line.endswith("\n")]
        return {int(line) for line in whole if line.isdecimal() and line.isascii()} & known


def _parts(size: int, part_size: int) -> list[Part]:
    return [
        Part(index, start, min(part_size, size - start))
        for index, start in enumerate(range(0, size, part_size))
    ]


def partial_path(staging: Path, file: RemoteFile) -> Path:
    """Where a file lies until it is whole.  Any path of a store becomes a short, distinct name."""
    digest = hashlib.sha256(file.path.encode("utf-8", "surrogateescape")).hexdigest()
    return staging / f"{digest[:40]}.partial"
