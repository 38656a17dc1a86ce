"""While models run: a live line on a terminal, heartbeat lines elsewhere, container output on request."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from pytest_madengine.plugin.compat import swap_terminal_file, uncaptured_stream
from pytest_madengine.util.files import open_regular
from pytest_madengine.util.text import log_line

if TYPE_CHECKING:
    from pytest_madengine.plugin.ledger import Ledger
    from pytest_madengine.session.session import MadSession

#: Seconds between looks at the running items.
INTERVAL = 1.0
#: Most bytes of one log shown at one look; the rest is in the file.
CHUNK = 1 << 20
#: What an item waits for while others hold its GPUs; the last line is the state.
LEASE_LOG = "lease.live.log"
_LONGEST_WAIT = 4096


class Progress:
    """A thread of the controlling process that shows what is running.

    It reads only files and node ids, so that it works the same with and without xdist.
    """

    def __init__(self, session: MadSession, ledger: Ledger, reporter: Any, heartbeat: float | None) -> None:
        self.session = session
        self.ledger = ledger
        self.reporter = reporter
        self.heartbeat = heartbeat
        self._stream: IO[str] | None = None
        self._running: dict[str, float] = {}
        self._tails: dict[str, LogTail] = {}
        self._lock = threading.RLock()
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="madengine-progress", daemon=True)
        self._line: LiveLine | None = None
        self._last_beat = time.monotonic()
        #: Columns of pytest's current line when ours ended it; pytest does not know that.
        self._ended_at = 0

    def start(self) -> None:
        """Starts the thread, and the live line if the output is a terminal."""
        if self._stream is None:
            return
        if self.reporter.isatty and not self.session.settings.live:
            self._line = LiveLine(self.reporter, self._stream)
        self._thread.start()

    def open(self) -> None:
        """Finds the way to the terminal; to be called before pytest captures output."""
        self._stream = uncaptured_stream(self.reporter)

    def stop(self) -> None:
        """Shows what is left of the logs and ends the thread."""
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(timeout=10)
        if self._line is not None:
            self._line.close()
            self._line = None

    def started(self, nodeid: str) -> None:
        """An item starts."""
        with self._lock:
            self._running[nodeid] = time.monotonic()
            if self.session.settings.live:
                self._tails[nodeid] = LogTail(self.ledger.ids.name(nodeid), self._directory(nodeid))

    def finished(self, nodeid: str) -> None:
        """An item ended; its output is shown to the end."""
        with self._lock:
            self._running.pop(nodeid, None)
            tail = self._tails.pop(nodeid, None)
            if tail is not None:
                self._show(tail)

    def _directory(self, nodeid: str) -> Path:
        spec = self.ledger.ids.spec(nodeid)
        return self.session.directory if spec is None else self.session.artifacts(spec)

    def _loop(self) -> None:
        while not self._wake.wait(INTERVAL):
            with self._lock:
                for tail in self._tails.values():
                    self._show(tail)
                if self._line is not None:
                    self._line.show(self._text())
                elif self.heartbeat and time.monotonic() - self._last_beat >= self.heartbeat:
                    self._last_beat = time.monotonic()
                    self._write(f"mad: {self._text()}")

    def _text(self) -> str:
        now = time.monotonic()
        done = len(self.ledger.records)
        total = done + len(self.ledger.expected)
        name = self.ledger.ids.name
        names = [
            f"{name(nodeid)} {now - since:.0f} s{self._waits(nodeid)}"
            for nodeid, since in self._running.items()
        ]
        return f"{done}/{total} done, running: {', '.join(names) or 'nothing'}"

    def _waits(self, nodeid: str) -> str:
        """What an item waits for instead of running: the last line of its log of leases says so."""
        try:
            with os.fdopen(open_regular(self._directory(nodeid) / LEASE_LOG), "rb") as stream:
                stream.seek(max(stream.seek(0, 2) - _LONGEST_WAIT, 0))
                lines = stream.read().decode("utf-8", "replace").splitlines()
        except OSError:
            return ""
        return f" ({log_line(lines[-1])})" if lines and lines[-1].startswith("waiting ") else ""

    def _show(self, tail: LogTail) -> None:
        for line in tail.new_lines():
            self._write(f"[{tail.name}] {log_line(line)}")

    def _write(self, line: str) -> None:
        if self._stream is None:
            return
        width = int(self.reporter._tw.width_of_current_line)
        start = "\n" if width and width != self._ended_at else ""
        self._ended_at = width
        self._stream.write(f"{start}{line}\n")
        self._stream.flush()


class LogTail:
    """New lines of the logs of one item, as they are written."""

    def __init__(self, name: str, directory: Path) -> None:
        self.name = name
        self.directory = directory
        self._offsets: dict[Path, int] = {}

    def new_lines(self) -> list[str]:
        """Complete lines since the last call."""
        lines: list[str] = []
        for pattern in ("*.build.live.log", "data.live.log", LEASE_LOG, "*.run.live.log"):
            for path in sorted(self.directory.glob(pattern)):
                lines += self._read(path)
        return lines

    def _read(self, path: Path) -> list[str]:
        offset = self._offsets.get(path, 0)
        try:
            with os.fdopen(open_regular(path), "rb") as stream:
                stream.seek(offset)
                data = stream.read(CHUNK)
        except OSError:
            return []
        end = data.rfind(b"\n") + 1
        if not end and len(data) < CHUNK:
            return []
        end = end or len(data)
        self._offsets[path] = offset + end
        return data[:end].decode("utf-8", "replace").removesuffix("\n").split("\n")


class LiveLine:
    """Text after the cursor of a terminal that disappears before anything else is written."""

    def __init__(self, reporter: Any, stream: IO[str]) -> None:
        self.reporter = reporter
        self.stream = stream
        self._shown = 0
        self._lock = threading.RLock()
        self._file: IO[str] | None = swap_terminal_file(reporter, lambda file: _Erasing(self, file))

    def show(self, text: str) -> None:
        """Replaces the shown text; cut to what fits on the line."""
        if self._file is None:
            return
        with self._lock:
            self.erase()
            writer = self.reporter._tw
            room = int(writer.fullwidth) - int(writer.width_of_current_line) - 2
            text = f" {text}"[: max(room, 0)]
            if len(text) > 1:
                self.stream.write(text)
                self.stream.flush()
                self._shown = len(text)

    def erase(self) -> None:
        """Takes the text away and leaves the cursor where pytest expects it."""
        if self._shown and self._file is not None:
            self.stream.write(f"\x1b[{self._shown}D\x1b[K")
            self.stream.flush()
            self._shown = 0

    def close(self) -> None:
        """Gives the terminal back."""
        if self._file is not None:
            with self._lock:
                self.erase()
            swap_terminal_file(self.reporter, lambda _: self._file)
            self._file = None


class _Erasing:
    """A file that erases the live line before it writes."""

    def __init__(self, line: LiveLine, file: IO[str]) -> None:
        self._live = line
        self._wrapped = file

    def write(self, text: str) -> int:
        with self._live._lock:
            self._live.erase()
            return self._wrapped.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._wrapped, name)
