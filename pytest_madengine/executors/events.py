"""The events file that the in-container scripts write, one line per event::

    <seconds since the epoch> <seconds since boot> <kind> [<text>]

Seconds since the epoch are exact to the microsecond but follow clock changes (0 with a bash older than 5.0);
seconds since boot are exact to 10 ms.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

#: Bytes that are read of an events file; a workload could write into it as well.
LARGEST: Final = 1024 * 1024
_TICK: Final = 0.05


@dataclass(frozen=True)
class Stamp:
    """One moment on two clocks, in seconds."""

    wall: float
    up: float

    def seconds_until(self, later: Stamp) -> float:
        """Duration, on the finer clock unless that one was set in between."""
        steady = max(later.up - self.up, 0.0)
        fine = later.wall - self.wall
        return fine if self.wall and fine >= 0 and abs(fine - steady) <= _TICK else steady


@dataclass(frozen=True)
class FailedStep:
    """A step that failed, its status, and the phase it belongs to."""

    name: str
    code: int
    phase: str


@dataclass
class Events:
    """What the scripts reported."""

    #: Name of each phase that began, with its moment: ``prepare``, ``run``, ``collect``, ``handback``.
    phases: dict[str, Stamp] = field(default_factory=dict)
    exit_code: int | None = None
    failed: list[FailedStep] = field(default_factory=list)
    #: The step that ran last.
    step: str = ""
    warnings: list[str] = field(default_factory=list)
    commit: str = ""
    #: Container paths of watched files that were there before the run phase.
    existing: frozenset[str] = frozenset()
    oom_kills: int = 0
    #: Why the first process stopped the work: ``term``, ``work`` or ``lifeline``.
    stopped_by: str = ""
    #: ``phases.sh`` came to its end.
    finished: bool = False
    #: The first process came to its end, whatever happened to ``phases.sh``.
    ended: bool = False
    #: When the model script ended or was stopped.
    run_end: Stamp | None = None
    last: Stamp | None = None

    def durations(self) -> dict[str, float]:
        """Seconds of the phases that began."""
        names = [name for name in ("prepare", "run", "collect") if name in self.phases]
        result: dict[str, float] = {}
        for name, following in zip(names, [*names[1:], ""], strict=False):
            end = self.phases.get(following, self.last)
            if name == "run":
                end = self.run_end or end
            if end is not None:
                result[name] = self.phases[name].seconds_until(end)
        return result


def parse_events(text: str) -> Events:
    """Reads an events file; lines that are not in the format are left out."""
    events = Events()
    existing: set[str] = set()
    for line in text.split("\n"):
        words = line.split(" ", 3)
        if len(words) < 3:
            continue
        try:
            stamp = Stamp(float(words[0].replace(",", ".")), float(words[1]))
            _take(events, existing, stamp, words[2], words[3] if len(words) > 3 else "")
        except ValueError:
            continue
        events.last = stamp
    events.existing = frozenset(existing)
    return events


def _take(events: Events, existing: set[str], stamp: Stamp, kind: str, text: str) -> None:
    if kind == "phase":
        events.phases.setdefault(text, stamp)
    elif kind == "exit":
        events.exit_code = int(text)
        events.run_end = stamp
    elif kind == "failed":
        code, _, name = text.partition(" ")
        events.failed.append(FailedStep(name, int(code), next(reversed(events.phases), "prepare")))
    elif kind == "step":
        events.step = text
    elif kind == "warning":
        events.warnings.append(text)
    elif kind == "commit":
        events.commit = text
    elif kind == "existing":
        existing.add(text)
    elif kind == "oom":
        events.oom_kills = int(text)
    elif kind == "stopping":
        events.stopped_by = text
        events.run_end = events.run_end or stamp
    elif kind == "end":
        events.ended = True
    elif kind == "finished":
        events.finished = True
