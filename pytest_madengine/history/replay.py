"""Records of a session into the history store, later: how to say it, and what does it."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from pytest_madengine.errors import ConfigError, RecordError
from pytest_madengine.history.urls import DatabaseUrl
from pytest_madengine.results.record import RunRecord
from pytest_madengine.secrets import Secret

#: Records stored at once.
_BATCH: Final = 200


def replay_command(target: DatabaseUrl, records_path: Path) -> str:
    """The command that stores later what could not be stored; without any password.

    A URL that came from the environment is found there again.
    """
    return f"madengine history replay {shlex.quote(str(records_path))}{target.option()}"


def replay(url: DatabaseUrl | str, records_path: Path) -> int:
    """Adds the records of a session's ``records.jsonl`` that the database does not have; returns how many.

    :raises ConfigError: the file cannot be read or holds something else.
    :raises HistoryError: the database is still down; the hint says what to run later.
    """
    from pytest_madengine.history.store import HistoryStore

    target = url if isinstance(url, DatabaseUrl) else DatabaseUrl(Secret(url))
    with HistoryStore(target, hint=f"run later: {replay_command(target, records_path)}") as store:
        store.create()
        batch: list[RunRecord] = []
        stored = 0
        for record in _read_records(records_path):
            batch.append(record)
            if len(batch) == _BATCH:
                stored += store.add(batch)
                batch.clear()
        return stored + store.add(batch)


def _read_records(path: Path) -> Iterator[RunRecord]:
    """Records of a file; lines that a dying writer left incomplete are passed over."""
    try:
        with path.open("rb") as stream:
            for number, line in enumerate(stream, 1):
                try:
                    entry = json.loads(line)
                except (ValueError, RecursionError):
                    continue
                try:
                    yield RunRecord.from_dict(entry)
                except RecordError as error:
                    raise ConfigError(f"{path}:{number} holds no record: {error.message}") from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror or error}") from None
