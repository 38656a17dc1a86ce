"""The output of the docker client: redacted into a log file, its last lines kept for the report."""

from __future__ import annotations

import codecs
import contextlib
import re
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Final

from pytest_madengine.secrets import Redactor
from pytest_madengine.util.text import log_line

#: Last lines kept for a failing test.
TAIL_LINES: Final = 40
#: Longest line kept in the tail, in characters.
TAIL_WIDTH: Final = 2000
#: A line longer than this many characters is written in pieces.
MAX_PENDING: Final = 64 * 1024

#: BuildKit names the digest of the base image it resolved: ``[1/2] FROM docker.io/library/x:1@sha256:...``.
_RESOLVED: Final = re.compile(r"\bFROM (?P<name>\S+)@(?P<digest>sha256:[0-9a-f]{64})")


class BuildLog:
    """Writes output to a file; memory stays bounded whatever the command prints.

    Bytes that are not UTF-8 are replaced.  Secrets are masked even when they arrive in pieces.
    """

    def __init__(self, stream: IO[str], redactor: Redactor) -> None:
        self._stream = stream
        self._redactor = redactor
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._pending = ""
        self._line = ""
        self._tail: deque[str] = deque(maxlen=TAIL_LINES)
        #: Image name -> registry digest, as BuildKit resolved them.
        self.resolved: dict[str, str] = {}

    def write(self, data: bytes) -> None:
        """Takes the next bytes."""
        self._take(self._decoder.decode(data))

    def note(self, text: str) -> None:
        """Writes whole lines of ours, e.g. the command line; they are no part of the tail."""
        self._stream.write(self._redactor.text(text))
        self._stream.flush()

    def _take(self, text: str) -> None:
        *lines, self._pending = (self._pending + text).split("\n")
        for line in lines:
            self._put(f"{self._redactor.text(line)}\n")
        if len(self._pending) > MAX_PENDING:
            # A secret may continue in the next piece: hold back what may be its beginning.
            masked = self._redactor.text(self._pending)
            cut = max(len(masked) - max(self._redactor.longest, 1), 0)
            self._put(masked[:cut])
            self._pending = masked[cut:]
        self._stream.flush()

    def _put(self, piece: str) -> None:
        self._stream.write(piece)
        self._line = (self._line + piece)[: TAIL_WIDTH + 1]
        if piece.endswith("\n"):
            line = log_line(self._line.removesuffix("\n")).rstrip()
            self._line = ""
            if line:
                self._tail.append(line[:TAIL_WIDTH])
                if match := _RESOLVED.search(line):
                    self.resolved.setdefault(match["name"], match["digest"])

    def finish(self) -> None:
        """Writes what is left of an unfinished line."""
        rest = self._decoder.decode(b"", True)
        if self._pending or rest or self._line:
            self._take(f"{rest}\n")

    @property
    def tail(self) -> tuple[str, ...]:
        """The last lines that are not empty, without control characters."""
        return tuple(self._tail)


@contextlib.contextmanager
def open_build_log(path: Path, redactor: Redactor) -> Iterator[BuildLog]:
    """A log in a new file; an older one of that name is replaced.

    :raises OSError: the file cannot be made.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)  # it may be shared with other items: they keep what they have
    with path.open("w", encoding="utf-8", newline="") as stream:
        log = BuildLog(stream, redactor)
        try:
            yield log
        finally:
            log.finish()
