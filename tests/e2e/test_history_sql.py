"""The history store and dlm_table on real servers: MariaDB, PostgreSQL, SQLite (contract 18.1)."""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any, cast

import pytest
import sqlalchemy
from data_servers import ssh_server
from history_records import NASTY, make_record, write_csv
from history_servers import MariaDb, PostgreSql, SqlServer, running
from pytest_madengine.errors import HistoryError
from pytest_madengine.gate.facts import values_of
from pytest_madengine.gate.key import gate_key
from pytest_madengine.history import upload as upload_module
from pytest_madengine.history.migrations import STEPS, migrate
from pytest_madengine.history.replay import replay
from pytest_madengine.history.rowkeys import digest
from pytest_madengine.history.sink import HistorySink
from pytest_madengine.history.store import HistoryStore
from pytest_madengine.history.upload import create_table, update_table
from pytest_madengine.history.urls import DatabaseUrl, TunnelSettings, database_url
from pytest_madengine.history.writing import fill_keys
from pytest_madengine.results.columns import V1_COLUMNS, V2_COLUMNS
from pytest_madengine.secrets import Secret

pytestmark = [pytest.mark.e2e, pytest.mark.parallel]
_numbers = itertools.count()


@pytest.fixture(scope="session")
def mariadb() -> Iterator[SqlServer]:
    with running(MariaDb) as server:
        yield cast("SqlServer", server)


@pytest.fixture(scope="session")
def postgresql() -> Iterator[SqlServer]:
    with running(PostgreSql) as server:
        yield cast("SqlServer", server)


@pytest.fixture(params=["mariadb", "postgresql"])
def server(request: pytest.FixtureRequest) -> SqlServer:
    return cast("SqlServer", request.getfixturevalue(request.param))


@pytest.fixture
def server_url(server: SqlServer) -> str:
    return server.make_database(f"mad{next(_numbers)}")


@pytest.fixture(params=["mariadb", "postgresql", "sqlite"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/mad.db"
    server = cast("SqlServer", request.getfixturevalue(request.param))
    return server.make_database(f"mad{next(_numbers)}")


def query(url: str, statement: str) -> list[tuple[Any, ...]]:
    """Rows, past our code."""
    engine = sqlalchemy.create_engine(url)
    try:
        with engine.begin() as connection:
            result = connection.exec_driver_sql(statement)
            return [tuple(row) for row in result] if result.returns_rows else []
    finally:
        engine.dispose()


def stored_rows(url: str, columns: tuple[str, ...] = V2_COLUMNS) -> list[tuple[Any, ...]]:
    return query(url, f"SELECT {', '.join(columns)} FROM dlm_table ORDER BY id")


def csv_rows(count: int, columns: tuple[str, ...] = V2_COLUMNS) -> list[dict[str, str]]:
    """Rows of which each second one equals its predecessor; hostile text in every cell."""
    return [{name: f"{NASTY} {name} {number // 2}" for name in columns} for number in range(count)]


@pytest.mark.parametrize("columns", [V1_COLUMNS, V2_COLUMNS], ids=["v1", "v2"])
def test_the_same_file_twice(url: str, columns: tuple[str, ...], tmp_path: Path) -> None:
    """Defect 37: given cells with emoji, quotes and `); DROP TABLE` / when the file is uploaded twice / then
    every row is stored literally, once."""
    rows = csv_rows(1000, columns)
    path = write_csv(tmp_path / "perf.csv", rows, columns)
    assert update_table(url, path).inserted == 1000
    assert update_table(url, path).inserted == 0
    assert stored_rows(url, columns) == [tuple(row.values()) for row in rows]
    write_csv(path, csv_rows(1010, columns), columns)
    assert update_table(url, path).inserted == 10


@pytest.mark.parametrize(
    ("earlier", "new", "change"),
    [("", "10", None), ("10 20", "30", "200.0"), ("1 10 10 10 10 10", "5", "50.0"), ("10 0-1", "5", "50.0")],
)
def test_relative_change(url: str, earlier: str, new: str, change: str | None, tmp_path: Path) -> None:
    """18.1, vectors of relative_change, the earlier rows in the database."""
    long = "model/" * 1000

    def upload(*values: str) -> None:
        rows = [
            {"model": long, "performance": value, "metric": "sps", "status": "SUCCESS", "base_docker": "b"}
            for value in values
        ]
        update_table(url, write_csv(tmp_path / "perf.csv", rows, V2_COLUMNS))

    upload(*earlier.split())
    upload(*earlier.split(), new)
    assert stored_rows(url, ("relative_change",))[-1] == (change,)


def test_names_differ_by_case_and_blanks(url: str, tmp_path: Path) -> None:
    """MariaDB's usual collations take `A` for `a`."""
    rows = [
        {"model": model, "performance": "10", "metric": "sps", "status": "SUCCESS"}
        for model in ("a", "A", "a ")
    ]
    update_table(url, write_csv(tmp_path / "perf.csv", rows, V2_COLUMNS))
    assert stored_rows(url, ("relative_change",)) == [(None,)] * 3


def test_records(url: str) -> None:
    """What goes into the store comes out, on every database."""
    records = [
        make_record(
            f"{NASTY} {number}", "1.5", NASTY, metric=NASTY, reason=NASTY * (5000 if number == 0 else 1)
        )
        for number in range(300)
    ]
    with HistoryStore(url) as store:
        assert store.create()
        assert store.add(records) == 300
        assert store.add(records) == 0
        assert store.records("latest") == records
        item = records[7].item_id
        assert [
            point.value for point in store.last(item, NASTY, fingerprint="f00d", gpu_product="MI300X")
        ] == [
            NASTY,
            "1.5",
        ]
        assert store.last(item.upper(), NASTY) == []
        assert len(store.runs(limit=1000, since="2026-11-23")) == 300
        assert all(entry.ratio in (1.0, None) for entry in store.compare("latest", "run1"))


def test_exports_are_equal(url: str, tmp_path: Path) -> None:
    with HistoryStore(url) as store:
        store.add([make_record(f"m{number}", "1", "x") for number in range(2000)])
        assert store.export(tmp_path / "x.json") == 4000
    rows = json.loads((tmp_path / "x.json").read_text(encoding="utf-8"))
    assert [row["item_id"] for row in rows] == [f"m{number // 2}" for number in range(4000)]


def describe(url: str) -> dict[str, Any]:
    """Columns and indexes of our tables."""
    engine = sqlalchemy.create_engine(url)
    try:
        inspector = sqlalchemy.inspect(engine)
        names = [name for name in inspector.get_table_names() if name != "dlm_table"]
        found: dict[str, Any] = {
            name: (
                [
                    (column["name"], str(column["type"]), column["nullable"])
                    for column in inspector.get_columns(name)
                ],
                sorted((index["name"], index["column_names"]) for index in inspector.get_indexes(name)),
            )
            for name in names
        }
        columns = inspector.get_columns("dlm_table")
        found["dlm_table"] = [(column["name"], str(column["type"]), column["nullable"]) for column in columns]
        return found
    finally:
        engine.dispose()


@pytest.mark.parametrize("version", [0, 1, 2])
def test_migrations(server: SqlServer, version: int) -> None:
    """Step by step gives the same tables as at once."""
    old, new = (server.make_database(f"mad{next(_numbers)}") for _ in range(2))
    with HistoryStore(old) as store:
        steps = {number: STEPS[number] for number in range(1, version + 1)}
        store.database.exclusive(lambda connection: migrate(connection, steps))
        store.add([make_record("m", "1")])
    create_table(new)
    assert describe(old) == describe(new)


def test_the_predecessors_table(url: str, tmp_path: Path) -> None:
    """A dlm_table without some columns is completed; its rows stay and count as earlier ones."""
    old = [name for name in V1_COLUMNS if name not in ("dataname", "data_size", "data_provider_type")]
    query(
        url,
        "CREATE TABLE dlm_table (id INTEGER PRIMARY KEY, created_date TIMESTAMP, "
        + ", ".join(f"{name} VARCHAR(40)" for name in old)
        + ")",
    )
    query(
        url,
        "INSERT INTO dlm_table (id, model, performance, metric, status) "
        "VALUES (1, 'm', '10', 'sps', 'SUCCESS')",
    )
    if not url.startswith("sqlite"):
        changes = {
            "mysql": ["ALTER TABLE dlm_table MODIFY id INTEGER AUTO_INCREMENT"],
            "postgresql": [
                "ALTER TABLE dlm_table ALTER id ADD GENERATED BY DEFAULT AS IDENTITY (START WITH 2)",
            ],
        }
        for statement in changes[url.partition("+")[0]]:
            query(url, statement)
    row = {"model": "m", "performance": "5", "metric": "sps", "status": "SUCCESS", "data_size": "1G"}
    assert update_table(url, write_csv(tmp_path / "perf.csv", [row], V2_COLUMNS)).inserted == 1
    assert stored_rows(url, ("performance", "relative_change", "data_size")) == [
        ("10", None, None),
        ("5", "50.0", "1G"),
    ]


def test_writers_at_once(url: str, tmp_path: Path) -> None:
    """Processes of several jobs make the tables and store the same results together."""
    records = [make_record(f"m{number}", "1") for number in range(50)]
    path = write_csv(tmp_path / "perf.csv", csv_rows(100), V2_COLUMNS)
    barrier = threading.Barrier(4)

    def work(number: int) -> int:
        barrier.wait()
        with HistoryStore(url, retries=5) as store:
            return store.add(records)

    def send(number: int) -> int:
        barrier.wait()
        return update_table(url, path).inserted

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(work, range(4))) == 50
        assert sum(pool.map(send, range(4))) == 100
    assert len(stored_rows(url)) == 100


def test_killed_in_the_middle_of_an_upload(
    server: SqlServer, server_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Done-when 3: the server is killed within the upload; replaying yields exactly the rows of the CSV."""
    rows = csv_rows(3000)
    path = write_csv(tmp_path / "perf.csv", rows, V2_COLUMNS)
    create_table(server_url)
    monkeypatch.setattr(upload_module, "_INSERT_CHUNK", 1000)
    sent = itertools.count()

    def count(_c: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        if "INSERT INTO dlm_table" in statement and next(sent) == 1:
            server.kill()

    sqlalchemy.event.listen(sqlalchemy.Engine, "before_cursor_execute", count)
    try:
        with pytest.raises(HistoryError) as raised:
            update_table(server_url, path)
    finally:
        sqlalchemy.event.remove(sqlalchemy.Engine, "before_cursor_execute", count)
        server.stop()
        server.start()
    assert raised.value.hint.startswith(f"run later: madengine database update-table --csv-file-path {path}")
    assert server.password not in raised.value.message + raised.value.hint
    assert stored_rows(server_url) == []
    assert update_table(server_url, path).inserted == 3000
    assert stored_rows(server_url) == [tuple(row.values()) for row in rows]
    assert update_table(server_url, path).inserted == 0


def test_killed_between_results(server: SqlServer, server_url: str, tmp_path: Path) -> None:
    """A database that dies during a session fails nothing; replaying adds what is missing, once."""
    path = tmp_path / "records.jsonl"
    target = database_url(None, {"MAD_DB_URL": server_url})
    sink = HistorySink(target, path)
    records = [make_record(f"m{number}", "1", NASTY) for number in range(10)]
    try:
        for number, record in enumerate(records):
            with path.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(record.to_dict()) + "\n")
            if number == 5:
                server.kill()
            line = sink.write(record)
            assert ("will be stored later" in line) == (number == 5)
        notes = sink.finish()
    finally:
        server.stop()
        server.start()
    assert "5 of 10 results are not stored" in notes[0]
    assert notes[1].endswith(f"madengine history replay {path}")
    assert replay(target, path) == 5
    assert replay(target, path) == 0
    with HistoryStore(target) as store:
        assert store.records("run1") == records
        assert len(store.last("m7", "sps")) == 2


def test_a_server_that_restarts_is_not_noticed(server: SqlServer, server_url: str) -> None:
    with HistoryStore(server_url) as store:
        store.add([make_record("a", "1")])
        server.stop()
        server.start()
        assert store.add([make_record("b", "1")]) == 1


@pytest.mark.parametrize("wrong", ["password", "port", "database"])
def test_a_server_that_refuses(server: SqlServer, server_url: str, wrong: str) -> None:
    """One line, without the password (contract 14.2)."""
    secret = "hush-hush"
    url = sqlalchemy.make_url(server_url)
    changed = {
        "password": url.set(password=secret),
        "port": url.set(port=1),
        "database": url.set(database="absent"),
    }[wrong]
    target = DatabaseUrl(Secret(changed.render_as_string(hide_password=False)))
    with HistoryStore(target, retries=0) as store, pytest.raises(HistoryError) as raised:
        store.create()
    text = f"{raised.value}{raised.value!r}{raised.value.hint}"
    assert secret not in text
    assert server.password not in text
    assert "\n" not in str(raised.value)
    assert "127.0.0.1" in str(raised.value)


def test_through_an_ssh_host(server: SqlServer, server_url: str, tmp_path: Path) -> None:
    """18.1: the database is reached through the SSH host; defect 33: not when its key has changed."""
    path = write_csv(tmp_path / "perf.csv", csv_rows(2000), V2_COLUMNS)
    known = tmp_path / "known_hosts"
    with ssh_server() as ssh:
        known.write_text(ssh.known_hosts_line)
        tunnel = TunnelSettings("127.0.0.1", ssh.port, ssh.user, Secret(ssh.password), known)
        target = DatabaseUrl(Secret(server_url), "MAD_DB_URL", tunnel)
        assert update_table(target, path).inserted == 2000
        assert update_table(target, path).inserted == 0
        with HistoryStore(target) as store:
            store.add([make_record("m", "1")])
            ssh.stop()
            ssh.start()
            assert len(store.runs()) == 1
        ssh.new_host_key()
        with HistoryStore(target) as store, pytest.raises(HistoryError, match="its key has changed"):
            store.runs()
    assert len(stored_rows(server_url)) == 2000


def test_baselines_of_the_gate(url: str) -> None:
    """Given values of a release without keys, when they are filled, then they are read like later ones."""
    first, later = (
        make_record("m", str(n), run=f"run{n}", finished=f"2026-11-0{n}T00:00:00Z") for n in (1, 2)
    )
    with HistoryStore(url) as store:
        store.add([first])
        store.database.write(lambda c: c.execute(sqlalchemy.text("UPDATE mad_metrics SET gate_key = NULL")))
        assert store.database.write(fill_keys) == 1
        store.add([later])
        (value,) = values_of(later)
        key = digest(gate_key(value.facts))
        found = store.baselines(["m"], datetime(2026, 1, 1)).earlier(key)
        assert [(one.session, one.number, one.role) for one in found] == [
            *(("run2", 2.0, "first"), ("run1", 1.0, "first"))
        ]
        assert store.context_of("run1", key)["hostname"] == "node1"
