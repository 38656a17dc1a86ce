"""The commands ``madengine database`` and ``madengine history`` on real servers (contract 18)."""

from __future__ import annotations

import contextlib
import csv
import itertools
import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pymongo
import pytest
import sqlalchemy
from history_records import NASTY, make_record, write_csv
from history_servers import MariaDb, Mongo, PostgreSql, SqlServer, running
from pytest_madengine.results.columns import V1_COLUMNS, V2_COLUMNS
from pytest_madengine.results.record import Outcome

pytestmark = [pytest.mark.e2e, pytest.mark.parallel]
MADENGINE = Path(sys.executable).parent / "madengine"
_numbers = itertools.count()
#: Seconds until something that must happen has happened.
LIMIT = 120.0


@pytest.fixture(scope="module")
def mariadb() -> Iterator[SqlServer]:
    with running(MariaDb) as server:
        yield cast("SqlServer", server)


@pytest.fixture(scope="module")
def postgresql() -> Iterator[SqlServer]:
    with running(PostgreSql) as server:
        yield cast("SqlServer", server)


@pytest.fixture(params=["mariadb", "postgresql"])
def server(request: pytest.FixtureRequest) -> SqlServer:
    return cast("SqlServer", request.getfixturevalue(request.param))


@pytest.fixture
def url(server: SqlServer) -> str:
    """A new database, whose URL has the password."""
    return server.make_database(f"cli{next(_numbers)}")


@pytest.fixture
def madengine(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs the command in an empty directory; its status is checked, and that no password is shown."""

    def run(*words: str, status: int = 0, **environment: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [MADENGINE, *words],
            cwd=tmp_path,
            env=environ(environment),
            capture_output=True,
            text=True,
            check=False,
            timeout=LIMIT,
        )
        assert done.returncode == status, done.stdout + done.stderr
        assert SqlServer.password not in done.stdout + done.stderr
        return done

    return run


Run = Callable[..., "subprocess.CompletedProcess[str]"]


def environ(more: dict[str, str]) -> dict[str, str]:
    foreign = ("MAD_DB_URL", "TUNA_", "MONGO_")
    return {name: value for name, value in os.environ.items() if not name.startswith(foreign)} | more


def query(url: str, statement: str) -> list[tuple[Any, ...]]:
    """Rows, past our code."""
    engine = sqlalchemy.create_engine(url)
    try:
        with engine.connect() as connection:
            return [tuple(row) for row in connection.exec_driver_sql(statement)]
    finally:
        engine.dispose()


def rows(count: int, columns: tuple[str, ...] = V2_COLUMNS) -> list[dict[str, str]]:
    """Rows of which each second one equals its predecessor; hostile text in every cell."""
    return [{name: f"{NASTY} {name} {number // 2}" for name in columns} for number in range(count)]


def stored(url: str, columns: tuple[str, ...] = V2_COLUMNS) -> list[tuple[Any, ...]]:
    return query(url, f"SELECT {', '.join(columns)} FROM dlm_table ORDER BY id")


@contextlib.contextmanager
def started(words: list[str], directory: Path, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """A command that is still at work; it is ended when the block is left."""
    process = subprocess.Popen(
        [MADENGINE, *words],
        cwd=directory,
        env=environ(environment),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def wait_until(happened: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    """Until something has happened while a command works."""
    end = time.monotonic() + LIMIT
    while not happened():
        assert process.poll() is None, f"too late: {process.communicate()}"
        assert time.monotonic() < end
        time.sleep(0.01)


# ---- SQL --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("columns", [V1_COLUMNS, V2_COLUMNS], ids=["v1", "v2"])
def test_the_same_perf_csv_twice(url: str, columns: tuple[str, ...], madengine: Run, tmp_path: Path) -> None:
    """Done-when 3: no duplicate; every cell is stored literally."""
    write_csv(tmp_path / "perf.csv", rows(500, columns), columns)
    assert "tables are ready in" in madengine("database", "create-table", "-v", MAD_DB_URL=url).stdout
    update = ["database", "update-table", "--csv-file-path", "perf.csv"]
    assert "500 of 500 rows inserted" in madengine(*update, MAD_DB_URL=url).stdout
    assert "0 of 500 rows inserted" in madengine(*update, "--db-url", url).stdout
    assert stored(url, columns) == [tuple(row.values()) for row in rows(500, columns)]


def test_killed_in_the_middle_of_an_upload(
    server: SqlServer, url: str, tmp_path: Path, madengine: Run
) -> None:
    """Done-when 3: the server is killed while rows are inserted; the command that is printed then stores
    exactly the rows of the CSV."""
    count = 12_000
    write_csv(tmp_path / "perf.csv", rows(count), V2_COLUMNS)
    madengine("database", "create-table", MAD_DB_URL=url)
    engine = sqlalchemy.create_engine(server.admin_url(), isolation_level="AUTOCOMMIT")
    statement = {
        "mysql": "SELECT COUNT(*) FROM information_schema.processlist "
        "WHERE info LIKE 'INSERT INTO dlm_table%%'",
        "postgresql": "SELECT COUNT(*) FROM pg_stat_activity WHERE usename LIKE 'mad_%%' "
        "AND query LIKE 'INSERT INTO dlm_table%%'",
    }[engine.dialect.name]
    try:
        with (
            engine.connect() as connection,
            started(["database", "update-table"], tmp_path, MAD_DB_URL=url) as upload,
        ):
            wait_until(lambda: bool(connection.exec_driver_sql(statement).scalar()), upload)
            server.kill()
            output, errors = upload.communicate(timeout=LIMIT)
            connection.invalidate()
    finally:
        engine.dispose()
        server.stop()
        server.start()
    assert (upload.returncode, output) == (1, "")
    assert server.password not in errors
    assert stored(url, ("id",)) == []
    command = shlex.split(errors.partition("run later: ")[2].strip())
    assert command[:3] == ["madengine", "database", "update-table"]
    assert f"{count} of {count} rows inserted" in madengine(*command[1:], MAD_DB_URL=url).stdout
    assert f"0 of {count} rows inserted" in madengine(*command[1:], MAD_DB_URL=url).stdout
    assert stored(url) == [tuple(row.values()) for row in rows(count)]


def test_killed_in_the_middle_of_a_replay(
    server: SqlServer, url: str, tmp_path: Path, madengine: Run
) -> None:
    """The same for records of a session: what was stored stays, the printed command adds the rest, once."""
    records = [make_record(f"m{number} {NASTY}", "1", NASTY) for number in range(2000)]
    lines = [json.dumps(record.to_dict()) + "\n" for record in records]
    (tmp_path / "records.jsonl").write_text("".join(lines), "utf-8")
    madengine("database", "create-table", MAD_DB_URL=url)

    def some() -> bool:
        return query(url, "SELECT COUNT(*) FROM mad_runs")[0][0] >= 400

    try:
        with started(["history", "replay", "records.jsonl"], tmp_path, MAD_DB_URL=url) as replay:
            wait_until(some, replay)
            server.kill()
            _, errors = replay.communicate(timeout=LIMIT)
    finally:
        server.stop()
        server.start()
    assert replay.returncode == 1
    command = shlex.split(errors.partition("run later: ")[2].strip())
    assert command == ["madengine", "history", "replay", "records.jsonl"]
    there = query(url, "SELECT COUNT(*) FROM mad_runs")[0][0]
    assert 400 <= there < 2000
    assert f"{2000 - there} records stored" in madengine(*command[1:], MAD_DB_URL=url).stdout
    assert "0 records stored" in madengine(*command[1:], MAD_DB_URL=url).stdout
    found = json.loads(
        madengine("history", "list", "--limit", "0", "--format", "json", MAD_DB_URL=url).stdout
    )
    assert sorted(row["item_id"] for row in found) == sorted(record.item_id for record in records)
    assert query(url, "SELECT COUNT(*) FROM mad_metrics") == [(4000,)]


def test_history(url: str, tmp_path: Path, madengine: Run) -> None:
    """What was stored comes back through every command, whatever it is called."""
    night = {"started": "2026-11-24T21:00:00Z", "finished": "2026-11-24T21:10:00Z"}
    records = [
        make_record(NASTY, "100"),
        make_record(NASTY, "90", run="run2", **night),
        make_record("bad", run="run2", outcome=Outcome.FAILURE, reason=NASTY, **night),
    ]
    (tmp_path / "r.jsonl").write_text("".join(json.dumps(one.to_dict()) + "\n" for one in records), "utf-8")
    assert "3 records stored" in madengine("history", "replay", "r.jsonl", "--db-url", url).stdout
    shown = json.loads(
        madengine("history", "show", "run1", NASTY, "--format", "json", "--db-url", url).stdout
    )
    assert shown == [records[0].to_dict()]
    listed = list(
        csv.DictReader(madengine("history", "list", "--format", "csv", MAD_DB_URL=url).stdout.splitlines())
    )
    assert [(row["run_id"], row["item_id"]) for row in listed] == [
        ("run2", "bad"),
        ("run2", NASTY),
        ("run1", NASTY),
    ]
    failed = madengine(
        "history", "list", "--status", "failure", "--since", "2026-11-24", MAD_DB_URL=url
    ).stdout
    assert NASTY in failed
    compared = madengine("compare", "--threshold", "5", status=1, MAD_DB_URL=url)
    assert "-10.00 %  worse" in compared.stdout
    assert madengine("history", "compare", "--threshold", "15", MAD_DB_URL=url).stdout == compared.stdout
    for form in ("csv", "json", "parquet"):
        assert "3 rows written" in madengine("history", "export", f"x.{form}", MAD_DB_URL=url).stdout
    exported = json.loads((tmp_path / "x.json").read_text("utf-8"))
    assert [row["performance"] for row in exported] == ["100", "90", ""]


# ---- MongoDB ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def mongo() -> Iterator[Mongo]:
    with running(lambda: Mongo("--sync-on-commit")) as server:
        yield cast("Mongo", server)


def documents(server: Mongo, database: str) -> list[dict[str, Any]]:
    with pymongo.MongoClient[dict[str, Any]](server.uri) as client:
        return list(client[database]["c"].find().sort("_id"))


@pytest.mark.parametrize("form", [["upload-mongodb"], []], ids=["command", "v2"])
def test_upload_to_mongodb_twice(mongo: Mongo, form: list[str], tmp_path: Path, madengine: Run) -> None:
    """Done-when 3: the same file twice changes nothing; another night adds documents."""
    database = f"cli{next(_numbers)}"
    where = {"MONGO_HOST": "127.0.0.1", "MONGO_PORT": str(mongo.port)}
    upload = ["database", *form, "-f", "perf.csv", "--database", database, "--collection", "c"]
    write_csv(tmp_path / "perf.csv", rows(300), V2_COLUMNS)
    assert "dry run: 300 documents" in madengine(*upload, "--dry-run", **where).stdout
    assert documents(mongo, database) == []
    assert "300 new, 0 replaced, 0 unchanged, 0 not stored" in madengine(*upload, **where).stdout
    before = documents(mongo, database)
    assert "0 new, 0 replaced, 300 unchanged" in madengine(*upload, "--uri", mongo.uri).stdout
    assert documents(mongo, database) == before
    write_csv(tmp_path / "perf.csv", [{"model": "m", "performance": "1"}], V2_COLUMNS)
    assert "1 new" in madengine(*upload, "--no-index", "--batch-size", "10", **where).stdout
    assert documents(mongo, database)[:300] == before


def test_mongodb_killed_in_the_middle(tmp_path: Path, madengine: Run) -> None:
    """Done-when 3: repeating the upload stores exactly the rows of the file."""
    write_csv(tmp_path / "perf.csv", rows(900), V2_COLUMNS)
    upload = ["database", "upload-mongodb", "-f", "perf.csv", "--db", "d", "-c", "c", "--batch-size", "50"]
    with running(lambda: Mongo("--sync-on-commit")) as process:
        server = cast("Mongo", process)
        where = {"MONGO_HOST": "127.0.0.1", "MONGO_PORT": str(server.port), "MONGO_TIMEOUT_MS": "2000"}
        with (
            pymongo.MongoClient[dict[str, Any]](server.uri) as client,
            started(upload, tmp_path, **where) as running_upload,
        ):
            wait_until(lambda: client["d"]["c"].count_documents({}) >= 200, running_upload)
            server.kill()
            _, errors = running_upload.communicate(timeout=LIMIT)
        assert running_upload.returncode == 1
        assert "the upload can be repeated" in errors
        server.start()
        there = len(documents(server, "d"))
        assert 200 <= there < 900
        assert f"{900 - there} new, 0 replaced, {there} unchanged" in madengine(*upload, **where).stdout
        found = documents(server, "d")
    assert [entry["model"] for entry in found] == [row["model"] for row in rows(900)]
    assert len({(entry["run_id"], entry["run_index"], entry["model"]) for entry in found}) == 900
