"""What the history store keeps for the performance gate: keys, verdicts, first runs; on SQLite."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pytest
from history_records import make_record
from pytest_madengine.gate.facts import values_of
from pytest_madengine.gate.key import gate_key
from pytest_madengine.gate.past import FIRST
from pytest_madengine.history import schema
from pytest_madengine.history.database import Database
from pytest_madengine.history.migrations import STEPS, migrate
from pytest_madengine.history.rowkeys import digest
from pytest_madengine.history.store import HistoryStore
from pytest_madengine.history.writing import fill_keys
from pytest_madengine.results.record import Metric, Outcome, RunRecord
from sqlalchemy import Connection, text, update

EVER = datetime(2020, 1, 1)


def keys_of(record: RunRecord) -> list[str]:
    return [digest(gate_key(value.facts)) for value in values_of(record)]


def numbers(store: HistoryStore, record: RunRecord) -> list[list[float]]:
    """The stored values of each key of a record."""
    found = store.baselines([record.model], EVER)
    return [[one.number for one in found.earlier(key)] for key in keys_of(record)]


def as_version_2(connection: Connection) -> None:
    """The store as the release before the gate made it."""
    migrate(connection, {number: STEPS[number] for number in (1, 2)})
    for name in schema.GATE_COLUMNS:
        connection.execute(text(f"ALTER TABLE mad_metrics DROP COLUMN {name}"))


def without_gate(store: HistoryStore, records: list[RunRecord]) -> None:
    """Rows as they are before their keys are known."""
    store.add(records)
    empty = dict.fromkeys(schema.GATE_COLUMNS)
    store.database.write(lambda c: c.execute(update(schema.metrics).values(empty)))


def test_values_of_several_sessions_are_read_at_once(tmp_path: Path) -> None:
    """Given three sessions of two models, then each key has its values, newest first."""
    with HistoryStore(f"sqlite:///{tmp_path}/x.db") as store:
        for day in (1, 2, 3):
            at = f"2026-11-0{day}T10:00:00Z"
            store.add([make_record(m, str(day), run=f"r{day}", finished=at) for m in ("m", "n")])
        found = store.baselines(["m"], EVER)
        key = keys_of(make_record("m", "1"))[0]
        assert [(one.session, one.number, one.role) for one in found.earlier(key)] == [
            *(("r3", 3.0, FIRST), ("r2", 2.0, FIRST), ("r1", 1.0, FIRST))
        ]
        assert len(found) == 1
        assert len(store.baselines(["m", "n"], EVER)) == 2
        assert [one.number for one in store.baselines(["m"], datetime(2026, 11, 2)).earlier(key)] == [
            3.0,
            2.0,
        ]


def test_what_cannot_be_compared_has_no_key(tmp_path: Path) -> None:
    """Text, failed rows and failed runs have no key; of a value printed twice the last has it."""
    metrics = (
        *(Metric("1", "a"), Metric("fast", "b"), Metric("2", "a")),
        Metric("3", "c", "row", Outcome.FAILURE),
    )
    record = make_record("m")
    good = RunRecord.from_dict({**record.to_dict(), "metrics": []})
    object.__setattr__(good, "metrics", metrics)
    with HistoryStore(f"sqlite:///{tmp_path}/x.db") as store:
        store.add([good, make_record("m", "9", run="bad", outcome=Outcome.FAILURE)])
        assert numbers(store, good) == [[2.0]]
        rows = store.database.read(
            lambda c: c.execute(text("SELECT value, gate_key IS NULL FROM mad_metrics ORDER BY id")).all()
        )
    assert [tuple(row) for row in rows] == [("1", 1), ("fast", 1), ("2", 0), ("3", 1), ("9", 1)]


def test_the_first_run_is_the_one_of_the_history(tmp_path: Path) -> None:
    """Given a value that a second run decided, then what is read is the first run's."""
    judged = {
        "verdict": "pass",
        "metrics": [{"name": "sps", "row": "m", "verdict": "pass", "runs": [88.0, 100.0]}],
    }
    record = make_record("m", "100", gate=judged)
    with HistoryStore(f"sqlite:///{tmp_path}/x.db") as store:
        store.add([record])
        (one,) = store.baselines(["m"], EVER).earlier(keys_of(record)[0])
    assert (one.number, one.verdict, one.role) == (88.0, "pass", FIRST)


def test_a_store_of_the_release_before_gets_keys(tmp_path: Path) -> None:
    """Given a store without the columns, when it is opened, then later values have keys."""
    url = f"sqlite:///{tmp_path}/old.db"
    with Database(url) as database:
        database.exclusive(as_version_2)
    with HistoryStore(url) as store:
        assert store.create() == [3]
        record = make_record("m", "7")
        store.add([record])
        assert numbers(store, record) == [[7.0]]


@pytest.mark.parametrize("count", [1, 3, 450])
def test_earlier_values_get_their_keys_from_documents(count: int, tmp_path: Path) -> None:
    """Given rows without keys, when they are filled, then they are found; once more: nothing."""
    records = [make_record("m", str(n), run=f"r{n}") for n in range(count)]
    with HistoryStore(f"sqlite:///{tmp_path}/x.db") as store:
        without_gate(store, records)
        assert len(store.baselines(["m"], EVER)) == 0
        assert store.database.write(fill_keys) == count
        assert store.database.write(fill_keys) == 0
        key = keys_of(records[0])[0]
        assert len(store.baselines(["m"], EVER).earlier(key)) == min(count, 160)


@pytest.mark.parametrize(
    "document", ["", "[]", "{}", '{"outcome": "NEW"}', '{"outcome": 3, "metrics": 7}', "nul"]
)
def test_documents_of_other_releases_stop_no_migration(document: str, tmp_path: Path) -> None:
    """Given a document that this release cannot read, then only its values stay without a key."""
    strange, plain = make_record("m", "1", run="strange"), make_record("m", "2", run="plain")
    with HistoryStore(f"sqlite:///{tmp_path}/x.db") as store:
        without_gate(store, [strange, plain])
        change = update(schema.records).where(schema.records.c.run_row == 1).values(document=document)
        store.database.write(lambda c: c.execute(change))
        assert store.database.write(fill_keys) == 1
        assert store.context_of("strange", keys_of(plain)[0]) == {}
        assert numbers(store, plain) == [[2.0]]


def test_the_context_of_a_baseline(tmp_path: Path) -> None:
    """What the newest baseline ran on is known for "changed since"."""
    record = make_record("m", "1")
    with HistoryStore(f"sqlite:///{tmp_path}/x.db") as store:
        store.add([record])
        found = store.context_of("run1", keys_of(record)[0])
        assert (found["hostname"], found["image_digest"]) == ("node1", "sha256:1")
        assert store.context_of("other", keys_of(record)[0]) == {}


def test_a_database_without_a_store_has_no_baselines(tmp_path: Path) -> None:
    """Looking at an empty database changes nothing in it."""
    path = tmp_path / "x.db"
    with HistoryStore(f"sqlite:///{path}") as store:
        assert len(store.baselines(["m"], EVER)) == 0
        assert (
            store.database.read(lambda c: c.execute(text("SELECT count(*) FROM sqlite_master")).scalar()) == 0
        )
