"""The MongoDB upload to a real server that speaks the wire protocol (contract 18.2)."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pymongo
import pytest
from history_records import NASTY, write_csv
from history_servers import Mongo, running
from pytest_madengine.errors import HistoryError
from pytest_madengine.history import mongo as mongo_module
from pytest_madengine.history.mongo import MongoResult, MongoUpload, upload_mongodb
from pytest_madengine.history.urls import MongoServer, mongo_server
from pytest_madengine.results.columns import V2_COLUMNS

pytestmark = [pytest.mark.e2e, pytest.mark.parallel]
PASSWORD = "p@ss/:%+ é"
_numbers = itertools.count()


@pytest.fixture(scope="session")
def server() -> Iterator[Mongo]:
    with running(Mongo) as server:
        yield cast("Mongo", server)


@pytest.fixture
def database() -> str:
    return f"mad{next(_numbers)}"


def connect(server: Mongo, **environ: str) -> MongoServer:
    return mongo_server(None, {"MONGO_HOST": "127.0.0.1", "MONGO_PORT": str(server.port), **environ})


def stored(server: Mongo, database: str) -> list[dict[str, Any]]:
    """Documents, past our code."""
    with pymongo.MongoClient[dict[str, Any]](server.uri) as client:
        return list(client[database]["c"].find().sort("_id"))


def rows(count: int, night: str = "") -> list[dict[str, str]]:
    """Each second row equals its predecessor; numbers, lists and hostile text."""
    return [
        {
            "model": f"{NASTY} {number // 2 % 3}",
            "performance": f"{number // 2}.5",
            "metric": f"sps{night}",
            "args": NASTY,
            "tags": '["a"]',
            "a.$b": '[1, {"x.y": "😀"}]',
        }
        for number in range(count)
    ]


def send(server: MongoServer, path: Path, database: str, **options: Any) -> MongoResult:
    return upload_mongodb(server, MongoUpload(path, database, "c", **options))


def test_twice_grown_and_another_night(server: Mongo, database: str, tmp_path: Path) -> None:
    """The same file twice changes nothing; defect 20: another run adds documents, lists are stored."""
    columns = [*V2_COLUMNS, "a.$b"]
    path = write_csv(tmp_path / "perf.csv", rows(1200), columns)
    assert send(connect(server), path, database).inserted == 1200
    before = stored(server, database)
    assert send(connect(server), path, database).unchanged == 1200
    assert stored(server, database) == before
    assert [entry["performance"] for entry in before] == [number // 2 + 0.5 for number in range(1200)]
    assert before[0]["a_$b"] == [1, {"x_y": "😀"}]
    assert (before[0]["args"], before[0]["tags"], before[0]["nnodes"]) == (NASTY, '["a"]', None)
    write_csv(path, rows(1300), columns)
    assert send(connect(server), path, database).inserted == 100
    write_csv(path, rows(10, "night"), columns)
    assert send(connect(server), path, database).inserted == 10
    assert stored(server, database)[:1200] == before


def test_indexes(server: Mongo, database: str, tmp_path: Path) -> None:
    path = write_csv(tmp_path / "x.csv", rows(2), [*V2_COLUMNS, "a.$b"])
    send(connect(server), path, database)
    with pymongo.MongoClient[dict[str, Any]](server.uri) as client:
        found = client[database]["c"].index_information()
    assert found["run_id_1_model_1_metric_1_run_index_1"]["unique"]
    assert len(found) == 4


def test_a_job_directory(server: Mongo, database: str, tmp_path: Path) -> None:
    (tmp_path / "perf_entry.json").write_text("[]")
    write_csv(tmp_path / "perf_entry.csv", [{"model": "m", "performance": "1"}], V2_COLUMNS)
    (tmp_path / "m_env.csv").write_text("sep=|\n------- Section: os ----------\nKernel.x|5\n")
    (tmp_path / "m.log").write_text(NASTY)
    for kind, expected in (("run", 1), ("job", 1), ("run", 0), ("job", 0)):
        assert send(connect(server), tmp_path, database, kind=kind).inserted == expected
    run, job = stored(server, database)
    assert run["system_env"] == job["system_env"] == {"os": {"Kernel_x": "5"}}
    assert run["logs"] == job["logs"] == {"m_log": NASTY}
    assert job["rows"][0]["performance"] == 1


def test_json(server: Mongo, database: str, tmp_path: Path) -> None:
    """perf_super.json: objects and lists as they are."""
    path = tmp_path / "perf_super.json"
    entry = {"model": "m", "metric": "x", "performance": "1", "configs": [{"a": 1}], "multi_results": None}
    path.write_text(json.dumps([entry, entry]), "utf-8")
    assert send(connect(server), path, database).inserted == 2
    assert send(connect(server), path, database).unchanged == 2
    found = stored(server, database)
    assert [(document["configs"], document["run_index"]) for document in found] == [
        ([{"a": 1}], 0),
        ([{"a": 1}], 1),
    ]


def test_a_password_with_special_characters(tmp_path: Path) -> None:
    """Defect 41: given a password `p@ss/:` / when a file is uploaded / then the connection works; a wrong
    one is refused in one line that does not show it."""
    path = write_csv(tmp_path / "x.csv", [{"model": "m", "performance": "1"}], V2_COLUMNS)
    with running(lambda: Mongo("--sync-on-commit")) as process:
        server = cast("Mongo", process)
        with pymongo.MongoClient[dict[str, Any]](server.uri) as client:
            client.admin.command("createUser", "u:s@r", pwd=PASSWORD, roles=["root"])
        server.kill()
        server.options = ["--auth"]
        server.start()
        login = connect(server, MONGO_USER="u:s@r", MONGO_PASSWORD=PASSWORD)
        assert send(login, path, "db").inserted == 1
        assert PASSWORD not in str(login)
        wrong = connect(server, MONGO_USER="u:s@r", MONGO_PASSWORD="hush-hush", MONGO_TIMEOUT_MS="2000")
        with pytest.raises(HistoryError) as raised:
            send(wrong, path, "db")
        assert "hush" not in f"{raised.value}{raised.value.hint}"
        with pytest.raises(HistoryError, match=r"(?i)auth"):
            send(connect(server), path, "db")


def test_tls_can_be_required(server: Mongo, tmp_path: Path) -> None:
    """Defect 41: with --tls nothing is sent to a server that does not speak it."""
    path = write_csv(tmp_path / "x.csv", [{"model": "m", "performance": "1"}], V2_COLUMNS)
    environ = {"MONGO_HOST": "127.0.0.1", "MONGO_PORT": str(server.port), "MONGO_TIMEOUT_MS": "500"}
    with pytest.raises(HistoryError):
        upload_mongodb(mongo_server(None, environ, tls=True), MongoUpload(path, "tls", "c"))
    assert stored(server, "tls") == []


def test_killed_in_the_middle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Done-when 3: the server is killed between batches; repeating stores exactly the rows of the file."""
    path = write_csv(tmp_path / "perf.csv", rows(500), [*V2_COLUMNS, "a.$b"])
    real, batches = mongo_module._store, itertools.count()
    with running(lambda: Mongo("--sync-on-commit")) as process:
        server = cast("Mongo", process)

        def store(*arguments: Any) -> None:
            if next(batches) == 2:
                server.kill()
            real(*arguments)

        monkeypatch.setattr(mongo_module, "_store", store)
        with pytest.raises(HistoryError, match=r"refused|closed|reset") as raised:
            send(connect(server, MONGO_TIMEOUT_MS="1000"), path, "db", batch_size=100)
        assert "repeated" in raised.value.hint
        server.start()
        result = send(connect(server), path, "db", batch_size=100)
        assert (result.inserted, result.unchanged) == (300, 200)
        found = stored(server, "db")
        assert [entry["performance"] for entry in found] == [number // 2 + 0.5 for number in range(500)]
        assert len({entry["run_id"] for entry in found}) == 1
