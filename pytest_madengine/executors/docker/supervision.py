"""Following a running container: phases, their limits, cancellation, and the way to its end."""

from __future__ import annotations

import enum
import re
import threading
import time
from collections.abc import Callable
from typing import Final, Protocol

from pytest_madengine.settings import PhaseTimeouts

#: Seconds between asking the work to end and killing the container (contract 10.8).
GRACE: Final = 10.0
#: Seconds that giving the files back may take once the work has ended.
HAND_BACK_LIMIT: Final = 600.0
#: Seconds in which the engine must end a container after a kill.
KILL_LIMIT: Final = 30.0
#: A cancel event cannot be waited for together with a socket; this is how late it may be seen.
_CANCEL_PERIOD: Final = 0.25


class Output(Protocol):
    """The container's output stream."""

    def receive(self, timeout: float | None) -> bytes | None:
        """Next output, ``None`` after the timeout, empty at the end."""
        ...


class _Stage(enum.Enum):
    RUNNING = "running"
    STOPPING = "stopping"
    KILLED = "killed"


class Supervisor:
    """State of a run as seen from outside.

    :param send: sends a signal to the container's first process.
    :param limits: seconds per phase; ``None`` or not positive: none.
    :param on_phase: called with the name of each phase that begins.
    :param cancel: set by somebody who wants the run to end.
    :param keep: the container stays: its work is ended by USR1 instead of TERM.
    """

    def __init__(
        self,
        send: Callable[[str], None],
        limits: PhaseTimeouts,
        *,
        on_phase: Callable[[str], None] | None = None,
        cancel: threading.Event | None = None,
        keep: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._send = send
        self._limits = {"prepare": limits.prepare, "run": limits.run, "collect": limits.collect}
        self._on_phase, self._cancel, self._keep, self._clock = on_phase, cancel, keep, clock
        self._stage = _Stage.RUNNING
        self._deadline: float | None = None
        #: Markers that came, and those of the phases before them.
        self._begun: set[str] = set()
        self.phase = "prepare"
        self.timed_out = ""
        self.timeout: float | None = None
        self.interrupted = False
        #: The container ended its work and stays.
        self.kept = False
        #: The exit status of that work; its marker has the nonce, so the work cannot have written it.
        self.kept_status: int | None = None
        #: The container survived a kill: the engine is in trouble.
        self.stuck = False
        self._limit_phase("prepare")

    @property
    def stopping(self) -> bool:
        """We asked for the end."""
        return self._stage is not _Stage.RUNNING

    def follow(self, output: Output, take: Callable[[bytes], None]) -> None:
        """Passes output to ``take`` until the container ends or stays; enforces limits on the way."""
        while not (self.kept or self.stuck):
            chunk = output.receive(self._patience())
            if chunk:
                take(chunk)
            elif chunk is not None:
                return
            if self._cancel is not None and self._cancel.is_set():
                self.interrupt()
            if self._deadline is not None and self._clock() >= self._deadline:
                self._expire()

    def on_marker(self, name: str) -> None:
        """A marker came through the output: a phase begins; ``kept`` also has the exit status."""
        name, _, status = name.partition(" ")
        if name in self._begun:
            return  # phases begin once, in their order
        self._begun.add(name)
        if name == "kept":
            self.kept = self._keep
            self.kept_status = int(status) if re.fullmatch(r"[0-9]{1,3}", status) else None
        elif name == "handback":
            if self._stage is _Stage.STOPPING:
                self._deadline = self._clock() + HAND_BACK_LIMIT
            elif self._deadline is None and not self.stopping:
                self._limits[self.phase] = HAND_BACK_LIMIT
                self._limit_phase(self.phase)
        elif name in self._limits and not self.stopping:
            names = list(self._limits)
            self._begun.update(names[: names.index(name)])
            self.phase = name
            self._limit_phase(name)
            if self._on_phase is not None:
                self._on_phase(name)

    def interrupt(self) -> None:
        """Ends the work before its time; a second call changes nothing."""
        if not self.stopping:
            self.interrupted = True
            self._stop()

    def _limit_phase(self, name: str) -> None:
        limit = self._limits[name]
        self._deadline = self._clock() + limit if limit is not None and limit > 0 else None

    def _patience(self) -> float | None:
        waits = [] if self._deadline is None else [max(self._deadline - self._clock(), 0.001)]
        if self._cancel is not None and not self.stopping:
            waits.append(_CANCEL_PERIOD)
        return min(waits, default=None)

    def _expire(self) -> None:
        if self._stage is _Stage.RUNNING:
            self.timed_out, self.timeout = self.phase, self._limits[self.phase]
            self._stop()
        elif self._stage is _Stage.STOPPING:
            self._stage = _Stage.KILLED
            self._deadline = self._clock() + KILL_LIMIT
            self._send("KILL")
        else:
            self.stuck = True

    def _stop(self) -> None:
        self._stage = _Stage.STOPPING
        self._deadline = self._clock() + GRACE
        self._send("USR1" if self._keep else "TERM")
