"""From version to version, on SQLite; test_history_sql does the same on the servers."""

from __future__ import annotations

import sqlite3
from datetime import datetime
from pathlib import Path

import pytest
from history_records import make_record
from pytest_madengine.errors import ConfigError
from pytest_madengine.history import schema
from pytest_madengine.history.database import Database
from pytest_madengine.history.migrations import STEPS, migrate
from pytest_madengine.history.store import HistoryStore
from pytest_madengine.history.upload import create_table
from sqlalchemy import Connection, insert, text


def describe(path: Path) -> dict[str, str]:
    """Every table and index as SQLite keeps it."""
    connection = sqlite3.connect(path)
    try:
        found = connection.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL")
        return dict(found.fetchall())
    finally:
        connection.close()


def test_there_is_a_step_to_every_version() -> None:
    assert sorted(STEPS) == list(range(1, schema.VERSION + 1))


@pytest.mark.parametrize("version", range(schema.VERSION))
def test_an_older_store_is_brought_up_to_date(version: int, tmp_path: Path) -> None:
    """Step by step gives the same tables as at once; what was stored stays."""
    old, new = tmp_path / "old.db", tmp_path / "new.db"
    with Database(f"sqlite:///{old}") as database:
        database.exclusive(lambda c: migrate(c, {number: STEPS[number] for number in range(1, version + 1)}))
        if version:
            database.write(
                lambda c: c.execute(insert(schema.series).values(series_key="k", model="m", metric="x"))
            )
    with HistoryStore(f"sqlite:///{old}") as store:
        assert store.create() == list(range(version + 1, schema.VERSION + 1))
        assert store.create() == []
        store.add([make_record("m", "1")])
    create_table(f"sqlite:///{new}")
    assert describe(old) == describe(new)
    if version:
        with Database(f"sqlite:///{old}") as database:
            assert (
                database.read(lambda c: c.execute(text("SELECT model FROM mad_series")).scalars().first())
                == "m"
            )


def test_reading_an_older_store_migrates_it(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/old.db"
    with Database(url) as database:
        database.exclusive(lambda c: migrate(c, {1: STEPS[1]}))
    with HistoryStore(url) as store:
        assert store.runs() == []
    assert "mad_uploads" in describe(tmp_path / "old.db")


def test_only_missing_steps_are_done_in_order(tmp_path: Path) -> None:
    done: list[int] = []

    def step(number: int) -> object:
        return lambda connection: done.append(number)

    newer = schema.VERSION + 1
    steps = {number: step(number) for number in (newer, *range(1, newer))}
    with Database(f"sqlite:///{tmp_path}/x.db") as database:
        assert database.exclusive(lambda c: migrate(c, {1: steps[1]})) == [1]  # type: ignore[dict-item]
        with pytest.raises(ConfigError, match=f"version {newer}, this release knows"):
            database.exclusive(lambda c: [migrate(c, steps), migrate(c, steps)])  # type: ignore[arg-type]
    assert done == list(range(1, newer + 1))


def test_a_step_that_fails_leaves_the_version(tmp_path: Path) -> None:
    """SQLite undoes the whole step; the next try begins with it."""

    def broken(connection: Connection) -> None:
        connection.execute(text("CREATE TABLE half (x INTEGER)"))
        raise ConfigError("stop")

    with Database(f"sqlite:///{tmp_path}/x.db") as database:
        with pytest.raises(ConfigError, match="stop"):
            database.exclusive(lambda c: migrate(c, {**STEPS, 2: broken}))
        assert database.exclusive(migrate) == sorted(STEPS)
    assert "half" not in describe(tmp_path / "x.db")


def test_a_store_of_a_newer_release_is_left_alone(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/x.db"
    create_table(url)
    with Database(url) as database:
        row = {"version": schema.VERSION + 1, "applied_at": datetime(2030, 1, 1)}
        database.write(lambda c: c.execute(insert(schema.schema_version).values(row)))
    with HistoryStore(url) as store, pytest.raises(ConfigError, match="this release knows"):
        store.add([make_record("m", "1")])
    with pytest.raises(ConfigError, match="this release knows"):
        create_table(url)
