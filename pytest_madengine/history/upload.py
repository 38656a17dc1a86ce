"""perf.csv into ``dlm_table`` (contract 18.1).  Import lazily: it imports SQLAlchemy.

One transaction, bound parameters, and keys (``rowkeys``) that make the same file an upload of nothing.
"""

from __future__ import annotations

import shlex
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Final, TypeAlias

from sqlalchemy import ColumnElement, Connection, func, insert, select

from pytest_madengine.history import schema
from pytest_madengine.history.csvrows import FILLED, CsvRows, read_entries, read_perf_csv
from pytest_madengine.history.database import Database
from pytest_madengine.history.migrations import complete_dlm_table, migrate
from pytest_madengine.history.rowkeys import row_keys, upload_id
from pytest_madengine.history.urls import DatabaseUrl
from pytest_madengine.history.writing import clean
from pytest_madengine.results.columns import V2_COLUMNS
from pytest_madengine.results.readings import number
from pytest_madengine.secrets import Secret

#: Earlier values of which ``relative_change`` takes the mean.
WINDOW: Final = 5
#: Rows that must agree for two performances to be compared.
GROUP: Final = ("model", "metric", "gpu_architecture", "base_docker")
_CHUNK: Final = 500
_INSERT_CHUNK: Final = 5000
#: Earlier rows are read in steps of this many: text and failures between them do not count.
_PAGE: Final = 50

Group: TypeAlias = tuple[str | None, ...]


@dataclass(frozen=True)
class UpdateResult:
    """What an upload did."""

    #: Rows of the file.
    rows: int
    #: Rows that ``dlm_table`` did not have.
    inserted: int
    #: Run id of the inserted rows that name none themselves.
    run_id: str
    warnings: tuple[str, ...] = ()


def create_table(url: DatabaseUrl | str) -> list[str]:
    """Makes ``dlm_table`` and the history tables where they are absent, and completes older ones.

    :returns: columns that were added to a ``dlm_table`` that was there.
    :raises ConfigError: no URL, a missing driver, or a store of a newer release.
    :raises HistoryError: the database is down or refuses.
    """
    with Database(url) as database:
        return database.exclusive(_create)


def _create(connection: Connection) -> list[str]:
    added = complete_dlm_table(connection) if _has_uploads(connection) else []
    migrate(connection)
    return added


def _has_uploads(connection: Connection) -> bool:
    return bool(connection.dialect.has_table(connection, schema.uploads.name))


def update_table(url: DatabaseUrl | str, csv_path: Path, model_json_path: Path | None = None) -> UpdateResult:
    """Inserts the rows of a perf.csv, v1 or v2, that ``dlm_table`` does not have, all or none.

    Tables are made when they are absent.  Rows that were deleted from the table by hand stay deleted,
    unless it is emptied.

    :param model_json_path: a models.json whose entries fill empty cells of ``csvrows.FILLED``.
    :raises ConfigError: a file cannot be read or is none of these; see also :func:`create_table`.
    :raises HistoryError: the database is down or refuses; nothing was inserted, and the hint says how to
        repeat.
    """
    target = url if isinstance(url, DatabaseUrl) else DatabaseUrl(Secret(url))
    table = read_perf_csv(csv_path)
    entries = read_entries(model_json_path) if model_json_path is not None else {}
    with Database(target) as database:
        hint = f"run later: {_command(target, csv_path, model_json_path)}"
        # One upload at a time: what one sees as an empty table, another may be about to fill.
        work = partial(_insert_new, table=table, entries=entries)
        inserted, run_id = database.exclusive(work, hint=hint)
    warnings = tuple(f"{csv_path}: column '{name}' is not uploaded" for name in table.unknown)
    return UpdateResult(len(table.rows), inserted, run_id, warnings)


def _command(target: DatabaseUrl, csv_path: Path, model_json_path: Path | None) -> str:
    models = f" --model-json-path {shlex.quote(str(model_json_path))}" if model_json_path else ""
    return (
        f"madengine database update-table --csv-file-path {shlex.quote(str(csv_path))}"
        f"{models}{target.option()}"
    )


def _insert_new(
    connection: Connection, table: CsvRows, entries: Mapping[str, Mapping[str, str]]
) -> tuple[int, str]:
    _create(connection)
    keys = row_keys(table.rows)
    known = _known_keys(connection, keys)
    run_id = upload_id(keys[-1]) if keys else ""
    now = datetime.now(timezone.utc).replace(tzinfo=None, microsecond=0)
    earlier = _Earlier(connection)
    rows = []
    for key, cells in zip(keys, table.rows, strict=True):
        if key in known:
            continue
        row: dict[str, object] = {"created_date": now, **_stored(cells, entries)}
        row["run_id"] = row["run_id"] or run_id
        # A baseline comparison may have filled the cell; the row counts for those that follow all the same.
        change = earlier.change(row)
        row["relative_change"] = row["relative_change"] or change
        rows.append(row)
    new_keys = [{"row_key": key} for key in keys if key not in known]
    for start in range(0, len(rows), _INSERT_CHUNK):
        connection.execute(insert(schema.uploads), new_keys[start : start + _INSERT_CHUNK])
        connection.execute(insert(schema.dlm), rows[start : start + _INSERT_CHUNK])
    return len(rows), run_id


def _known_keys(connection: Connection, keys: Sequence[str]) -> set[str]:
    known: set[str] = set()
    column = schema.uploads.c.row_key
    for start in range(0, len(keys), _CHUNK):
        known.update(
            connection.execute(select(column).where(column.in_(keys[start : start + _CHUNK]))).scalars()
        )
    return known


def _stored(cells: Mapping[str, str], entries: Mapping[str, Mapping[str, str]]) -> dict[str, str | None]:
    """All text columns of a row; empty cells are NULL."""
    row: dict[str, str | None] = dict.fromkeys((*V2_COLUMNS, "run_id"))
    # Cells of a CSV file are clean: its reader leaves no NUL and no half of a surrogate pair.
    row.update({name: cell for name, cell in cells.items() if name in row})
    entry = entries.get(cells.get("model", ""), {})
    for name in FILLED:
        if row[name] is None and name in entry:
            row[name] = clean(entry[name])
    return row


class _Earlier:
    """The last numeric performances of SUCCESS rows per group, those of this upload included."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._values: dict[Group, deque[float]] = {}

    def change(self, row: Mapping[str, object]) -> str | None:
        """``relative_change`` of a new row, which then counts as an earlier one of those that follow."""
        value = number(str(row["performance"] or ""))
        if value is None or row["status"] != "SUCCESS":
            return None
        group: Group = tuple(None if row[name] is None else str(row[name]) for name in GROUP)
        if group not in self._values:
            self._values[group] = deque(_last_values(self._connection, group), WINDOW)
        values = self._values[group]
        mean = sum(values) / len(values) if values else 0.0
        values.append(value)
        return str(round(value / mean * 100, 6)) if mean else None


def _last_values(connection: Connection, group: Group) -> list[float]:
    """At most :data:`WINDOW` numbers, oldest first."""
    table = schema.dlm.c
    query = (
        select(table.id, *(table[name] for name in GROUP), table.performance)
        .where(table.status == "SUCCESS", table.performance.is_not(None), *_is_group(connection, group))
        .order_by(table.id.desc())
        .limit(_PAGE)
    )
    found: list[float] = []
    before: int | None = None
    while len(found) < WINDOW:
        page = connection.execute(query if before is None else query.where(table.id < before)).all()
        for identifier, *names, performance in page:
            before = identifier
            value = number(str(performance))
            # Collations of a table that others made may find what is only similar.
            if value is not None and tuple(names) == group and len(found) < WINDOW:
                found.append(value)
        if len(page) < _PAGE:
            break
    return found[::-1]


def _is_group(connection: Connection, group: Group) -> list[ColumnElement[bool]]:
    conditions = []
    for name, value in zip(GROUP, group, strict=True):
        column = schema.dlm.c[name]
        conditions.append(column.is_(None) if value is None else column == value)
        if value is not None and name in schema.PREFIX and connection.dialect.name == "postgresql":
            # The expression of the index.
            length = schema.PREFIX[name]
            conditions.append(func.left(column, length) == value[:length])
    return conditions
