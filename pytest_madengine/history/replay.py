"""Records of a session into the history store, later: how to say it, and what does it."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
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


def replay(
    url: DatabaseUrl | str, records_path: Path, tell: Callable[[str], object] = lambda _note: None
) -> int:
    """Adds the records of a session's ``records.jsonl`` that the database does not have; returns how many.

    :param tell: takes a note on lines that were left out.
    :raises ConfigError: the file cannot be read, or holds no record at all.
    :raises HistoryError: the database is still down; the hint says what to run later.
    """
    from pytest_madengine.history.store import HistoryStore

    target = url if isinstance(url, DatabaseUrl) else DatabaseUrl(Secret(url))
    with HistoryStore(target, hint=f"run later: {replay_command(target, records_path)}") as store:
        store.create()
        batch: list[RunRecord] = []
        stored = 0
        for record in _read_records(records_path, tell):
            batch.append(record)
            if len(batch) == _BATCH:
                stored += store.add(batch)
                batch.clear()
        return stored + store.add(batch)


def _read_records(path: Path, tell: Callable[[str], object]) -> Iterator[RunRecord]:
    """Records of a file; what else it holds, such as the half line of a dying writer, is passed over."""
    good, bad, first = 0, 0, ""
    try:
        with path.open("rb") as stream:
            for number, line in enumerate(stream, 1):
                try:
                    record = RunRecord.from_json(line)
                except RecordError as error:
                    bad += bool(line.strip())
                    first = first or f"{path}:{number} holds no record: {error.message}"
                else:
                    good += 1
                    yield record
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror or error}") from None
    if bad and not good:
        raise ConfigError(first, hint="give the records.jsonl of a session")
    if bad:
        tell(f"{bad} line{'s' * (bad > 1)} left out: {first}")
