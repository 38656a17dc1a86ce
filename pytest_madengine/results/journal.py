"""The journal of a session, and the record of an item as a file."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pytest_madengine.errors import RecordError
from pytest_madengine.results.record import RunRecord, json_of
from pytest_madengine.util.clock import utc_now
from pytest_madengine.util.files import append_line, write_atomic


class Journal:
    """``journal.jsonl`` of a session: a line when an item starts and a line when it ends.

    Written by the process that runs the item, under a file lock, so that the controlling process knows
    what a worker that died was doing.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        #: Lines that the last reading left out.
        self.left_out = 0

    def start(self, nodeid: str, *, item: str, model: str, directory: str, worker: str) -> None:
        """An item starts."""
        self._write(
            event="start",
            nodeid=nodeid,
            item=item,
            model=model,
            directory=directory,
            worker=worker,
        )

    def finish(self, nodeid: str, record: RunRecord) -> None:
        """An item ended with this record."""
        self._write(event="finish", nodeid=nodeid, record=record.to_dict())

    def _write(self, **fields: Any) -> None:
        append_line(self.path, json.dumps({"time": utc_now(), "pid": os.getpid(), **fields}))

    def started(self) -> set[str]:
        """Node ids of the items that have started."""
        return {str(entry.get("nodeid")) for entry in self.entries() if entry.get("event") == "start"}

    def finished(self) -> dict[str, RunRecord]:
        """The records of the items that have ended, by node id."""
        found: dict[str, RunRecord] = {}
        for nodeid, record in self._finishes():
            found.setdefault(nodeid, record)
        return found

    def records(self) -> Iterator[RunRecord]:
        """The records of the items that have ended, in their order."""
        return (record for _, record in self._finishes())

    def _finishes(self) -> Iterator[tuple[str, RunRecord]]:
        for entry in self.entries():
            if entry.get("event") == "finish":
                try:
                    record = RunRecord.from_dict(entry.get("record"))
                except RecordError:  # counted; the caller tells
                    self.left_out += 1
                else:
                    yield str(entry.get("nodeid")), record

    def entries(self) -> Iterator[dict[str, Any]]:
        """All complete lines; a torn last line is left out."""
        self.left_out = 0
        try:
            # Not by splitlines(), which knows more ends of lines than JSON does.
            lines = self.path.read_bytes().split(b"\n")
        except FileNotFoundError:
            return
        for line in filter(None, lines):
            try:
                entry = json_of(line)
            except RecordError:
                entry = None
            if isinstance(entry, dict):
                yield entry
            else:
                self.left_out += 1


def save_record(path: Path, record: RunRecord) -> None:
    """``record.json`` in the artifacts directory of the item, atomically."""
    write_atomic(path, json.dumps(record.to_dict(), indent=2) + "\n")
