"""How long items are expected to take, from the records of earlier sessions.

Read are ``records.jsonl`` and, for sessions that died before writing it, ``journal.jsonl`` in the newest
sub-directories of the results directory; bounded, because result directories grow for years.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, Final

from pytest_madengine.errors import RecordError
from pytest_madengine.results.record import json_of

#: Bounds of what is read: sessions, bytes of all their files.
MAX_SESSIONS: Final = 40
MAX_BYTES: Final = 64 << 20
#: Newest durations of one item that count.
_SAMPLES: Final = 5
#: Share of its time limit that a model without history is expected to need.
_OF_LIMIT: Final = 0.3
#: Expected seconds when nothing at all is known.
DEFAULT: Final = 600.0
#: Seconds; a number that is not below it is no duration.
_LONGEST: Final = 1e9
#: Phases during which an item does not occupy its GPUs.
_WITHOUT_GPUS: Final = frozenset({"lease", "build", "pull", "data"})


@dataclass
class Durations:
    """Durations of successful runs in seconds, newest first."""

    by_fingerprint: dict[str, list[float]] = field(default_factory=dict)
    by_item: dict[str, list[float]] = field(default_factory=dict)

    def add(self, record: Mapping[str, Any]) -> None:
        """Takes the duration of one record; records of failures and of other formats say nothing."""
        seconds = _seconds(record)
        if seconds is None:
            return
        for table, key in ((self.by_fingerprint, "fingerprint"), (self.by_item, "item_id")):
            name = record.get(key)
            if isinstance(name, str) and name:
                samples = table.setdefault(name, [])
                if len(samples) < _SAMPLES:
                    samples.append(seconds)

    def known(self, item: str, fingerprint: str = "") -> float | None:
        """The median of the newest runs of the same fingerprint, else of the same item."""
        samples = self.by_fingerprint.get(fingerprint) or self.by_item.get(item)
        return median(samples) if samples else None

    def expected(self, items: Iterable[tuple[str, float | None]]) -> dict[str, float]:
        """Expected seconds of (item, time limit or ``None``): history, else a share of the limit, else the
        median of what is known of the others."""
        wanted = dict(items)
        found = {item: self.known(item) for item in wanted}
        middle = [seconds for seconds in found.values() if seconds is not None]
        fallback = median(middle) if middle else DEFAULT
        result = {}
        for item, limit in wanted.items():
            seconds = found[item]
            if seconds is None:
                seconds = limit * _OF_LIMIT if limit and limit > 0 else fallback
            result[item] = seconds
        return result


def read_durations(results: Path, skip: str = "") -> Durations:
    """Durations from the newest sessions below a results directory; empty when there is none.

    :param skip: id of the session that is running.
    """
    durations = Durations()
    left = MAX_BYTES
    for session in _newest(results, skip):
        path = session / "records.jsonl"
        if not path.is_file():
            path = session / "journal.jsonl"
        text, size = _tail(path, left)
        left -= size
        for record in _records(text):
            durations.add(record)
        if left <= 0:
            break
    return durations


def _newest(results: Path, skip: str) -> list[Path]:
    # Names of sessions start with the time: newest first.
    try:
        names = sorted((entry.name for entry in results.iterdir() if entry.name != skip), reverse=True)
    except OSError:
        return []
    return [results / name for name in names[:MAX_SESSIONS]]


def _tail(path: Path, limit: int) -> tuple[str, int]:
    try:
        with path.open("rb") as stream:
            size = stream.seek(0, 2)
            stream.seek(max(0, size - limit))
            data = stream.read(limit)
    except OSError:
        return "", 0
    return data.decode("utf-8", "replace"), len(data)


def _records(text: str) -> Iterator[Mapping[str, Any]]:
    for line in reversed(text.split("\n")):
        try:
            value = json_of(line)
        except RecordError:
            continue
        if isinstance(value, dict) and isinstance(value.get("record"), dict):
            value = value["record"]
        if isinstance(value, dict):
            yield value


def _seconds(record: Mapping[str, Any]) -> float | None:
    durations = record.get("durations")
    if record.get("outcome") != "SUCCESS" or not isinstance(durations, dict):
        return None
    seconds = 0.0
    for phase, value in durations.items():
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return None
        if not 0 <= value < _LONGEST:
            return None
        if phase not in _WITHOUT_GPUS:
            seconds += value
    return seconds if 0 < seconds < _LONGEST else None
