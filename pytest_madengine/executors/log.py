"""From the container's output stream to the run log: bounded memory at any size and line length.

The stream carries marker lines (see ``plan.script.marker``) that say where a phase begins.  The pump takes
them out, lets the scanner see the output of the run phase, redacts secrets, replaces invalid UTF-8 and writes
the log file.
"""

from __future__ import annotations

import codecs
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Final, Protocol

from pytest_madengine.executors.redaction import StreamRedactor
from pytest_madengine.plan.script import marker
from pytest_madengine.secrets import Redactor
from pytest_madengine.util.text import log_line

#: The tail keeps this many lines, and at most that many bytes of them.
TAIL_LINES: Final = 50
TAIL_BYTES: Final = 16 * 1024
#: A marker name is shorter than this many bytes.
_NAME_LIMIT: Final = 32


class Scanner(Protocol):
    """What looks at the output of the run phase."""

    def feed(self, chunk: bytes) -> None:
        """Takes the next bytes."""
        ...


class MarkerSplitter:
    """Finds marker lines in a stream of chunks and takes them out.

    Output without a final line feed before a marker gets one, so that phases never share a line.
    """

    def __init__(self, nonce: str) -> None:
        self._prefix = marker(nonce).encode()
        self._rest = b""
        self._at_line_start = True

    def feed(self, chunk: bytes) -> list[tuple[bytes, str]]:
        """Pieces of (output, name of the marker after it); the name of the last piece is empty."""
        data = self._rest + chunk if self._rest else chunk
        self._rest = b""
        pieces: list[tuple[bytes, str]] = []
        position = 0
        while (found := data.find(self._prefix, position)) >= 0:
            start = found + len(self._prefix)
            end = data.find(b"\n", start, start + _NAME_LIMIT)
            if end < 0 and len(data) - start < _NAME_LIMIT:
                self._rest = data[found:]
                break
            if end < 0:  # the prefix without a name: not one of ours
                pieces.append((self._output(data[position:start]), ""))
                position = start
                continue
            pieces.append((self._closed(data[position:found]), data[start:end].decode("ascii", "replace")))
            position = end + 1
        else:
            found = len(data) - self._started(data)
            self._rest = data[found:]
        pieces.append((self._output(data[position:found]), ""))
        return pieces

    def end(self) -> bytes:
        """Bytes that looked like the start of a marker and were none."""
        rest, self._rest = self._rest, b""
        return rest

    def _started(self, data: bytes) -> int:
        """Length of the longest end of the data that a marker could start with."""
        place = data.rfind(self._prefix[:1], max(len(data) - len(self._prefix) + 1, 0))
        return len(data) - place if place >= 0 and self._prefix.startswith(data[place:]) else 0

    def _output(self, data: bytes) -> bytes:
        if data:
            self._at_line_start = data.endswith(b"\n")
        return data

    def _closed(self, data: bytes) -> bytes:
        if not data and self._at_line_start:
            return data
        closed = data if data.endswith(b"\n") else data + b"\n"
        self._at_line_start = True
        return closed


class LogPump:
    """Writes the log of one run; use it as a context manager.

    :param path: the run log.
    :param on_marker: called with the name of each marker, after everything before it was written.
    :param on_output: called with every piece of clean output (live view).
    """

    def __init__(
        self,
        path: Path,
        nonce: str,
        redactor: Redactor,
        scanner: Scanner,
        on_marker: Callable[[str], None],
        on_output: Callable[[bytes], None] | None = None,
    ) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("wb", buffering=0)
        self._redactor = redactor
        self._scanner, self._on_marker, self._on_output = scanner, on_marker, on_output
        self._splitter = MarkerSplitter(nonce)
        self._scanning = self._scanned = False
        self._tail = b""
        self._begin_piece()

    def __enter__(self) -> LogPump:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            self.finish()
        finally:
            self._file.close()

    def feed(self, chunk: bytes) -> None:
        """Takes the next bytes of the container's output."""
        for output, name in self._splitter.feed(chunk):
            if output:
                self._scan(output)
                self._write(self._decode(self._secrets.feed(output)))
            if name:
                self._end_piece()
                # The run phase is scanned, once.
                self._scanned = self._scanned or name in ("collect", "handback")
                self._scanning = (self._scanning or name == "run") and not self._scanned
                self._on_marker(name)

    def note(self, text: str) -> None:
        """Writes a line of our own."""
        self._end_piece()
        line = self._redactor.text(text).encode("utf-8", "replace") + b"\n"
        self._scan(line)
        self._write(line)

    def finish(self) -> None:
        """Writes what was held back; call it at the end of the stream."""
        rest = self._splitter.end()
        if rest:
            self._scan(rest)
            self._write(self._decode(self._secrets.feed(rest)))
        self._end_piece()

    def _scan(self, data: bytes) -> None:
        """Not what the log file gets: a number that equals a secret is still what was measured."""
        if self._scanning:
            self._scanner.feed(data)

    @property
    def tail(self) -> tuple[str, ...]:
        """The last lines."""
        text = self._tail.decode("utf-8", "replace").replace("\r\n", "\n")
        lines = text.split("\n")
        kept = lines[:-1] if lines and not lines[-1] else lines
        return tuple(map(log_line, kept[-TAIL_LINES:]))

    def _begin_piece(self) -> None:
        self._secrets = StreamRedactor(self._redactor)
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._decoding = False

    def _end_piece(self) -> None:
        """What is held back belongs to the phase that ends here."""
        self._write(self._decode(self._secrets.end(), final=True))
        self._begin_piece()

    def _decode(self, data: bytes, *, final: bool = False) -> bytes:
        """Valid UTF-8, with replacement characters for what was not."""
        if not self._decoding and data.isascii():
            return data
        text = self._decoder.decode(data, final)
        self._decoding = bool(self._decoder.getstate()[0])
        return text.encode("utf-8")

    def _write(self, data: bytes) -> None:
        if not data:
            return
        view = memoryview(data)
        while view:
            view = view[self._file.write(view) or 0 :]
        self._tail = data[-TAIL_BYTES:] if len(data) >= TAIL_BYTES else (self._tail + data)[-TAIL_BYTES:]
        if self._on_output is not None:
            self._on_output(data)
