"""From any older version of the store to this one, step by step.  Import lazily: it imports SQLAlchemy.

Every step can be repeated: MariaDB commits each change of a table by itself, so a step that was interrupted
has been done in part.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from typing import Final, TypeAlias

from sqlalchemy import Column, Connection, delete, func, insert, inspect, select, text
from sqlalchemy.schema import CreateColumn

from pytest_madengine.errors import ConfigError
from pytest_madengine.history import schema
from pytest_madengine.history.writing import fill_keys

Step: TypeAlias = Callable[[Connection], None]


def stored_version(connection: Connection) -> int:
    """The version of the store in this database; 0 when there is none.

    :raises ConfigError: a later release of this package made it.
    """
    if not inspect(connection).has_table(schema.schema_version.name):
        return 0
    version: int = connection.execute(select(func.max(schema.schema_version.c.version))).scalar() or 0
    if version > schema.VERSION:
        raise ConfigError(
            f"the history store has version {version}, this release knows {schema.VERSION}",
            hint="upgrade pytest-madengine, or use another database",
        )
    return version


def migrate(connection: Connection, steps: Mapping[int, Step] | None = None) -> list[int]:
    """Brings the store up to the newest version; returns the versions that were applied.

    The caller holds the lock of the database (``Database.exclusive``).

    :param steps: the step to each version, instead of the built-in ones.
    :raises ConfigError: the store is newer than this release.
    """
    schema.schema_version.create(connection, checkfirst=True)
    present = stored_version(connection)
    applied = []
    for version, step in sorted((STEPS if steps is None else steps).items()):
        if version <= present:
            continue
        step(connection)
        now = datetime.now(timezone.utc).replace(tzinfo=None, microsecond=0)
        connection.execute(insert(schema.schema_version).values(version=version, applied_at=now))
        applied.append(version)
    return applied


def _history_tables(connection: Connection) -> None:
    """Version 1: runs, metrics, contexts."""
    schema.metadata.create_all(connection, tables=schema.HISTORY, checkfirst=True)


def _dlm_table(connection: Connection) -> None:
    """Version 2: ``dlm_table``, also one that the predecessor made, with columns missing."""
    schema.uploads.create(connection, checkfirst=True)
    complete_dlm_table(connection)


def _gate(connection: Connection) -> None:
    """Version 3: what the performance gate compares; earlier values get their keys from their documents."""
    table = schema.metrics
    present = {str(column["name"]) for column in inspect(connection).get_columns(table.name)}
    for name in schema.GATE_COLUMNS:
        if name not in present:
            _add_column(connection, table.c[name])
    schema.marks.create(connection, checkfirst=True)
    fill_keys(connection)


STEPS: Final[Mapping[int, Step]] = {1: _history_tables, 2: _dlm_table, 3: _gate}


def complete_dlm_table(connection: Connection) -> list[str]:
    """Makes ``dlm_table``, or adds the columns it lacks; returns their names.  Rows stay as they are.

    A table that was dropped or emptied by hand is filled again: its upload keys are forgotten.
    """
    table = schema.dlm
    added: list[str] = []
    if not inspect(connection).has_table(table.name):
        table.create(connection)
    else:
        present = {str(column["name"]) for column in inspect(connection).get_columns(table.name)}
        for column in table.columns:
            if column.name not in present:
                _add_column(connection, column)
                added.append(column.name)
    _index_dlm_table(connection)
    if connection.execute(select(table.c.model).limit(1)).first() is None:
        connection.execute(delete(schema.uploads))
    return added


def _add_column(connection: Connection, column: Column[object]) -> None:
    # An added column holds nothing in the rows that are there, so it cannot be NOT NULL.
    optional = Column(column.name, column.type, nullable=True)
    definition = CreateColumn(optional).compile(dialect=connection.dialect)
    table = connection.dialect.identifier_preparer.format_table(column.table)
    connection.execute(text(f"ALTER TABLE {table} ADD COLUMN {definition}"))


def _index_dlm_table(connection: Connection) -> None:
    """The index that finds earlier rows.  An index entry has a largest size, a name has none: prefixes."""
    table, name = schema.dlm.name, "dlm_table_by_model"
    if _has_index(connection, name):
        return
    lengths = dict(schema.PREFIX)
    for column in inspect(connection).get_columns(table):
        if column["name"] in lengths:
            # A table of the predecessor may have VARCHAR columns.
            limit = getattr(column["type"], "length", None)
            lengths[column["name"]] = min(limit or lengths[column["name"]], lengths[column["name"]])
    pattern = {"sqlite": "{name}", "postgresql": "left({name}, {length})"}.get(
        connection.dialect.name, "{name}({length})"
    )
    columns = ", ".join(pattern.format(name=column, length=length) for column, length in lengths.items())
    connection.execute(text(f"CREATE INDEX {name} ON {table} ({columns}, id)"))


def _has_index(connection: Connection, name: str) -> bool:
    # Not by reflection: SQLAlchemy warns of indexes over expressions.
    query = {
        "sqlite": "SELECT 1 FROM sqlite_master WHERE type = 'index' AND name = :name",
        "postgresql": "SELECT 1 FROM pg_indexes WHERE schemaname = current_schema() AND indexname = :name",
    }.get(
        connection.dialect.name,
        "SELECT 1 FROM information_schema.statistics "
        "WHERE table_schema = DATABASE() AND table_name = 'dlm_table' AND index_name = :name",
    )
    return connection.execute(text(query), {"name": name}).first() is not None
