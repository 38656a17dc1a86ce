"""--mad-db: a database that is down never fails a run."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest
from history_records import make_record
from pytest_madengine.errors import ConfigError
from pytest_madengine.history.replay import replay, replay_command
from pytest_madengine.history.sink import PAUSE, HistorySink
from pytest_madengine.history.store import HistoryStore
from pytest_madengine.history.urls import DatabaseUrl, database_url
from pytest_madengine.results.record import RunRecord
from pytest_madengine.secrets import Secret


class Session:
    """A session with a sink whose database appears when its directory is made."""

    def __init__(self, tmp_path: Path) -> None:
        self.directory = tmp_path / "later"
        self.target = DatabaseUrl(Secret(f"sqlite:///{self.directory}/h.db"))
        self.records = tmp_path / "records.jsonl"
        self.now = 0.0
        self.sink = HistorySink(self.target, self.records, clock=lambda: self.now)
        self.sink._store.database._sleep = lambda seconds: None

    def result(self, record: RunRecord) -> str:
        with self.records.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(record.to_dict()) + "\n")
        return self.sink.write(record)

    def start_database(self) -> None:
        self.directory.mkdir()

    def stored(self) -> list[str]:
        with HistoryStore(self.target) as store:
            return sorted(run.item_id for run in store.runs())


@pytest.fixture
def session(tmp_path: Path) -> Session:
    return Session(tmp_path)


def test_results_are_there_as_they_arrive(session: Session) -> None:
    session.start_database()
    for number in range(3):
        assert session.result(make_record(f"m{number}", "1")) == ""
        assert len(session.stored()) == number + 1
    assert session.sink.finish() == []


def test_a_database_that_is_down(session: Session) -> None:
    """One line when it begins, the command to replay at the end; replaying twice adds every result once."""
    assert "results are kept" in session.result(make_record("m0", "1"))
    assert session.result(make_record("m1", "1")) == ""
    session.now = PAUSE
    assert session.result(make_record("m2", "1")) == ""
    lines = session.sink.finish()
    assert "3 of 3 results are not stored" in lines[0]
    assert lines[1].endswith(f"madengine history replay {session.records} --db-url {session.target.safe}")
    session.start_database()
    assert replay(session.target, session.records) == 3
    assert replay(session.target, session.records) == 0
    assert session.stored() == ["m0", "m1", "m2"]


def test_a_database_that_comes_back(session: Session) -> None:
    session.result(make_record("m0", "1"))
    session.start_database()
    session.now = PAUSE - 1
    session.result(make_record("m1", "1"))
    assert not list(session.directory.iterdir())
    session.now = PAUSE
    assert session.result(make_record("m2", "1")) == ""
    assert session.sink.finish() == []
    assert session.stored() == ["m0", "m1", "m2"]
    assert replay(session.target, session.records) == 0


def test_the_end_is_the_last_try(session: Session) -> None:
    session.result(make_record("m0", "1"))
    assert [record.item_id for record in session.sink.waiting] == ["m0"]
    session.start_database()
    assert session.sink.finish() == []
    assert session.stored() == ["m0"]


def test_worker_nodes_do_not_wait(session: Session) -> None:
    assert session.sink.write(make_record("w", has_row=False)) == ""
    assert session.sink.finish() == []


def test_a_wrong_url_is_said_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="not supported"):
        HistorySink(DatabaseUrl(Secret("oracle://h/d")), tmp_path / "r.jsonl")


@pytest.mark.parametrize(
    ("given", "environ", "command"),
    [
        ("sqlite:///h.db", {}, ["--db-url", "sqlite:///h.db"]),
        ("mysql://u:hush@h/d?x=1&y", {}, ["--db-url", "mysql://u:***@h/d?x=1&y"]),
        (None, {"MAD_DB_URL": "mysql://u:hush@h/d"}, []),
    ],
)
def test_the_command_has_no_password(given: str | None, environ: dict[str, str], command: list[str]) -> None:
    """Defect 37: the password is in no argument list."""
    text = replay_command(database_url(given, environ), Path("a b/records.jsonl"))
    assert shlex.split(text) == ["madengine", "history", "replay", "a b/records.jsonl", *command]
