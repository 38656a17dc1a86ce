"""The history store: every run and every value of every session, in a SQL database.

Import lazily: it imports SQLAlchemy.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Final, TypeVar

from sqlalchemy import Connection

from pytest_madengine.errors import ConfigError
from pytest_madengine.gate.compare import Comparison, compare_points
from pytest_madengine.history import queries, schema
from pytest_madengine.history.baselines import Baselines, read_baselines, read_context
from pytest_madengine.history.database import Database
from pytest_madengine.history.export import write_export
from pytest_madengine.history.migrations import migrate, stored_version
from pytest_madengine.history.queries import RunRow
from pytest_madengine.history.urls import DatabaseUrl
from pytest_madengine.history.writing import add_batch, clean, run_key
from pytest_madengine.results.point import Point
from pytest_madengine.results.record import RunRecord

_T = TypeVar("_T")

#: Records per transaction; all limits of bound parameters are far above.
_BATCH: Final = 200


class HistoryStore:
    """Runs and values of all sessions in one database.  Use it as a context manager, or close it.

    :param url: a SQLAlchemy URL, or what ``urls.database_url`` found.
    :param retries: see ``Database``.
    :param hint: what an error tells the user to do later, e.g. the command that repeats the work.
    :raises ConfigError: no URL, an unsupported database, a missing driver.
    """

    def __init__(
        self,
        url: DatabaseUrl | str,
        *,
        retries: int = 2,
        sleep: Callable[[float], None] = time.sleep,
        hint: str = "",
    ) -> None:
        self.database = Database(url, retries=retries, sleep=sleep)
        self.hint = hint
        self._ready = False

    def __enter__(self) -> HistoryStore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connections and the tunnel."""
        self.database.close()

    def create(self) -> list[int]:
        """Makes the tables, or brings older ones up to date; returns the schema versions applied.

        :raises HistoryError: the database is down or refuses.
        :raises ConfigError: a newer release made the store.
        """
        if self._ready or self.database.read(stored_version, hint=self.hint) == schema.VERSION:
            self._ready = True
            return []
        applied = self.database.exclusive(migrate, hint=self.hint)
        self._ready = True
        return applied

    # ---- writing ------------------------------------------------------------------------------------

    def add(self, records: Sequence[RunRecord]) -> int:
        """Stores records, and their values; returns how many were new.

        What is stored already (run id, item id) stays as it is, so everything may be added again.  Records
        without rows (worker nodes) are left out.

        :raises HistoryError: the database is down or refuses; whole batches may have been stored.
        """
        kept = {run_key(record): record for record in records if record.has_row}
        for record in kept.values():
            if len(record.run_id) > 255:
                raise ConfigError(f"{record.item_id}: its run id has more than 255 characters")
        self.create()
        stored = 0
        keys = list(kept)
        for start in range(0, len(keys), _BATCH):
            batch = {key: kept[key] for key in keys[start : start + _BATCH]}
            stored += self.database.write(partial(add_batch, batch=batch), hint=self.hint)
        return stored

    # ---- reading ------------------------------------------------------------------------------------

    def last(self, model: str, metric: str, n: int = 20, **key: str) -> list[Point]:
        """The newest ``n`` values of a metric, newest first, of any size of store in milliseconds.

        :param model: name as in perf.csv, with the row name of multiple results.
        :param key: values compare only within it: any of ``queries.KEYS``, e.g. ``fingerprint``,
            ``gpu_product``, ``training_precision``, ``outcome``.
        :raises ConfigError: an unknown key.
        """
        unknown = sorted(set(key) - set(queries.KEYS))
        if unknown:
            raise ConfigError(f"unknown key {', '.join(unknown)}", hint=f"use {', '.join(queries.KEYS)}")
        return self._read(lambda c: queries.last_points(c, clean(model), clean(metric), n, key), [])

    def runs(
        self,
        *,
        run_id: str = "",
        model: str = "",
        outcome: str = "",
        since: str = "",
        limit: int | None = 50,
    ) -> list[RunRow]:
        """Stored runs of items, newest first.

        :param run_id: as ``resolve`` takes it.
        :param since: UTC ISO-8601 date or time.
        """

        def work(connection: Connection) -> list[RunRow]:
            session = queries.resolve_run(connection, run_id) if run_id else ""
            return queries.run_rows(
                connection, run_id=session, model=clean(model), outcome=outcome, since=since, limit=limit
            )

        return self._read(work, [])

    def records(self, run_id: str, item_id: str = "") -> list[RunRecord]:
        """Complete records of a session (id, its beginning, ``latest``, ``latest~1``), or of one item."""

        def work(connection: Connection) -> list[RunRecord]:
            session = queries.resolve_run(connection, run_id)
            found = queries.documents(connection, session, clean(item_id))
            return [RunRecord.from_dict(document) for document in found]

        return self._read(work, [])

    def baselines(self, models: Iterable[str], since: datetime) -> Baselines:
        """What the gate compares with: all values of these models since then (UTC), in one query."""
        names = [clean(model) for model in models]
        return self._read(lambda c: read_baselines(c, names, since), Baselines())

    def context_of(self, session: str, key: str) -> dict[str, str]:
        """The facts of the run of a session that has a value of this key (hash), for "changed since"."""
        return self._read(lambda c: read_context(c, session, key), {})

    def compare(self, a: str, b: str) -> list[Comparison]:
        """Values of two sessions side by side.  Each is named as in :meth:`records`.

        :raises ConfigError: no or several such runs.
        """

        def work(connection: Connection) -> list[Comparison]:
            sides = [queries.resolve_run(connection, name) for name in (a, b)]
            return compare_points(*(queries.points_of_run(connection, side) for side in sides))

        return self._read(work, [])

    def export(self, path: Path, format: str = "", *, run_id: str = "", model: str = "") -> int:
        """Writes one row per value (columns ``queries.EXPORTED``) atomically; returns their number.

        :param format: ``csv``, ``json`` or ``parquet``; default: by the suffix of the path.
        :raises ConfigError: unknown format, pyarrow is missing for parquet, no such run.
        :raises HistoryError: the database is down, or the file cannot be written.
        """

        def work(connection: Connection) -> int:
            session = queries.resolve_run(connection, run_id) if run_id else ""
            rows: Iterable[tuple[Any, ...]] = ()
            if stored_version(connection):
                rows = queries.flat_rows(connection, run_id=session, model=clean(model))
            return write_export(path, format, queries.EXPORTED, rows)

        return self.database.read(work, hint=self.hint)

    def _read(self, work: Callable[[Connection], _T], empty: _T) -> _T:
        """A query; a database without a store is one without runs, and is not changed by looking."""
        if not self._ready:
            if self.database.read(stored_version, hint=self.hint) == 0:
                return empty
            self.create()
        return self.database.read(work, hint=self.hint)
