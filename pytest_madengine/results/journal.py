"""The journal of a session, and the record of an item as a file."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pytest_madengine.results.record import RunRecord
from pytest_madengine.util import jsontext
from pytest_madengine.util.files import append_line, utc_now, write_atomic


class Journal:
    """``journal.jsonl`` of a session: a line when an item starts and a line when it ends.

    Written by the process that runs the item, under a file lock, so that the controlling process knows
    what a worker that died was doing.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

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

    def entries(self) -> Iterator[dict[str, Any]]:
        """All complete lines; a torn last line is left out."""
        try:
            text = self.path.read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return
        for line in text.splitlines():
            try:
                entry = jsontext.parse(line, constants=True)
            except jsontext.JsonTextError:
                continue
            if isinstance(entry, dict):
                yield entry


def save_record(path: Path, record: RunRecord) -> None:
    """``record.json`` in the artifacts directory of the item, atomically."""
    write_atomic(path, json.dumps(record.to_dict(), indent=2) + "\n")
