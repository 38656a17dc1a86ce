"""``madengine database``: every command, option and spelling, on SQLite and without a server."""

from __future__ import annotations

import itertools
import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from history_records import NASTY, write_csv
from pytest_madengine.cli.app import make_app
from pytest_madengine.history import mongo
from pytest_madengine.history.mongo import MongoResult, MongoUpload
from pytest_madengine.history.urls import MongoServer
from pytest_madengine.results.columns import V1_COLUMNS, V2_COLUMNS
from typer.testing import CliRunner

APP = make_app("madengine-cli")
ROWS = [
    {"model": "m", "performance": str(number), "metric": "sps", "status": "SUCCESS", "args": NASTY}
    for number in range(5)
]


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with a perf.csv and a perf_entry.csv; no database of the environment."""
    for name in ("MAD_DB_URL", "MONGO_URI", "MONGO_HOST", "MONGO_USER", "MONGO_PASSWORD"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    for name in ("perf.csv", "perf_entry.csv"):
        write_csv(tmp_path / name, ROWS, V2_COLUMNS)
    return tmp_path


def call(*words: str, status: int = 0, **environment: str) -> str:
    """Everything a command prints that ends with this status."""
    result = CliRunner().invoke(APP, ["database", *words], env=environment)
    assert result.exit_code == status, result.output + repr(result.exception)
    return result.output


def stored(path: Path) -> list[tuple[Any, ...]]:
    with sqlite3.connect(path) as connection:
        return connection.execute("select model, performance, args from dlm_table order by id").fetchall()


# ---- SQL --------------------------------------------------------------------------------------------------


def test_create_table(place: Path) -> None:
    assert call("create-table") == "tables are ready in sqlite:///madengine.db\n"
    assert stored(place / "madengine.db") == []
    text = call("create-table", "--db-url", f"sqlite:///{place}/x.db", "-v")
    assert "dlm_table" in text
    assert "from --db-url" in text
    assert "MAD_DB_URL" in call("create-table", "--verbose", MAD_DB_URL=f"sqlite:///{place}/y.db")


def test_update_table_twice(place: Path) -> None:
    """Done-when 3: the same perf.csv twice yields no duplicate."""
    assert call("update-table") == "5 of 5 rows inserted in sqlite:///madengine.db\n"
    assert call("update-table", "--csv-file-path", "perf.csv").startswith("0 of 5 rows inserted")
    assert stored(place / "madengine.db") == [("m", str(number), NASTY) for number in range(5)]


def test_update_table_options(place: Path) -> None:
    write_csv(place / "v1.csv", [{"model": "m", "performance": "1"}], [*V1_COLUMNS, "mine"])
    (place / "models.json").write_text('[{"name": "m", "args": "--from entry"}]')
    url = f"sqlite:///{place}/x.db"
    text = call(
        *(
            "update-table",
            "--csv-file-path",
            "v1.csv",
            "--model-json-path",
            "models.json",
            "--db-url",
            url,
            "-v",
        )
    )
    assert "WARNING: v1.csv: column 'mine' is not uploaded" in text
    assert "1 of 1 rows inserted" in text
    assert "run id of rows that have none: " in text
    assert stored(place / "x.db") == [("m", "1", "--from entry")]


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (["update-table", "--csv-file-path", "absent.csv"], 4),
        (["update-table", "--db-url", "nonsense"], 4),
        (["update-table", "--db-url", "oracle://u:hush@h/x"], 4),
        (["update-table", "--db-url", "sqlite:////absent/x.db"], 1),
        (["create-table", "--db-url", "mysql://u:hush@127.0.0.1:1/x"], 1),
        (["create-table", "--nonsense"], 4),
        (["nonsense"], 4),
    ],
)
def test_sql_failures(words: list[str], status: int) -> None:
    assert "hush" not in call(*words, status=status)


def test_a_server_that_is_down_names_the_command_to_repeat() -> None:
    text = call("update-table", status=1, MAD_DB_URL="mysql://u:hush@127.0.0.1:1/x")
    assert "run later: madengine database update-table --csv-file-path perf.csv\n" in text
    assert "hush" not in text


# ---- MongoDB ----------------------------------------------------------------------------------------------

Calls = list[tuple[MongoServer, MongoUpload]]


@pytest.fixture
def uploads(monkeypatch: pytest.MonkeyPatch) -> Calls:
    """What reaches the library."""
    calls: Calls = []

    def record(server: MongoServer, upload: MongoUpload) -> MongoResult:
        calls.append((server, upload))
        return MongoResult(documents=2, inserted=2, warnings=("beware",))

    monkeypatch.setattr(mongo, "upload_mongodb", record)
    return calls


TARGET = ["--database-name", "d", "--collection-name", "c"]
#: The command, and the form of v2 without it.
FORMS = pytest.mark.parametrize("form", [["upload-mongodb"], []], ids=["command", "v2"])


@FORMS
@pytest.mark.parametrize(
    ("file", "database", "collection", "key"),
    list(
        itertools.zip_longest(
            ["--csv-file-path", "--file", "-f"],
            ["--database-name", "--database", "--db"],
            ["--collection-name", "--collection", "-c"],
            ["--unique-key", "-k"],
            fillvalue="--unique-key",
        )
    ),
)
def test_spellings(
    uploads: Calls, form: list[str], file: str, database: str, collection: str, key: str
) -> None:
    text = call(*form, file, "perf.csv", database, "d", collection, "c", key, "model, args")
    (_, upload) = uploads[0]
    assert (upload.path, upload.database, upload.collection) == (Path("perf.csv"), "d", "c")
    assert upload.unique_key == ("model", "args")
    assert "WARNING: beware" in text
    assert "2 documents for d.c of mongodb://localhost:27017/: 2 new, 0 replaced" in text


@FORMS
def test_defaults(uploads: Calls, form: list[str]) -> None:
    call(*form, *TARGET)
    (server, upload) = uploads[0]
    assert upload == MongoUpload(Path("perf_entry.csv"), "d", "c")
    assert (server.tls, server.timeout_ms) == (False, 5000)


@FORMS
def test_every_option(uploads: Calls, form: list[str]) -> None:
    options = ["--file-path", "results", "--type", "job", "--name", "m", "--batch-size", "7", "--no-upsert"]
    uri = ["--uri", "mongodb://u:hush@h:1/", "--tls", "--no-index", "-v"]
    text = call(*form, *TARGET, *options, *uri)
    (server, upload) = uploads[0]
    assert (upload.path, upload.kind, upload.name, upload.batch_size) == (Path("results"), "job", "m", 7)
    assert (upload.upsert, upload.index, server.tls) == (False, False, True)
    assert "identified by run_id, model, metric, run_index" in text
    assert "mongodb://u:***@h:1/" in text
    assert "hush" not in text


@FORMS
def test_the_server_of_the_environment(uploads: Calls, form: list[str]) -> None:
    call(*form, *TARGET, MONGO_HOST="h", MONGO_USER="u", MONGO_PASSWORD="p@ss/:")
    assert str(uploads[0][0]) == "mongodb://u:***@h:27017/?authSource=admin"


@FORMS
def test_dry_run(form: list[str]) -> None:
    """Shows what would be stored, and asks no server."""
    text = call(*form, *TARGET, "--dry-run", "-f", "perf.csv", MONGO_PORT="1")
    assert text.startswith("dry run: 5 documents would be stored in d.c of mongodb://localhost:1/\n")
    assert text.endswith("... and 2 more\n")
    decoder, rest = json.JSONDecoder(), text.partition("\n")[2]
    document, _ = decoder.raw_decode(rest)
    assert (document["model"], document["performance"], document["args"]) == ("m", 0, NASTY)


@FORMS
@pytest.mark.parametrize(
    "words",
    [
        ["--database-name", "d"],
        ["--collection-name", "c"],
        [*TARGET, "--type", "nonsense"],
        [*TARGET, "--batch-size", "0"],
        [*TARGET, "--batch-size", "many"],
        [*TARGET, "--unique-key", "a,,b"],
        [*TARGET, "-f", "absent.csv"],
        [*TARGET, "-f", "perf.csv", "--file-path", "."],
        [*TARGET, "--uri", "http://u:hush@h/"],
        [*TARGET, "--name", "nobody", "--dry-run"],
        [*TARGET, "--nonsense"],
    ],
)
def test_wrong_arguments(form: list[str], words: list[str]) -> None:
    assert "hush" not in call(*form, *words, status=4)


@FORMS
def test_a_server_that_is_down(form: list[str]) -> None:
    text = call(*form, *TARGET, status=1, MONGO_PORT="1", MONGO_TIMEOUT_MS="200", MONGO_HOST="127.0.0.1")
    assert "the upload can be repeated" in text


def test_what_is_not_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> MongoResult:
        result = MongoResult(documents=1)
        result.fail("model=m: too large")
        return result

    monkeypatch.setattr(mongo, "upload_mongodb", refuse)
    text = call("upload-mongodb", *TARGET, status=1)
    assert "WARNING: not stored: model=m: too large" in text
    assert "1 not stored" in text


def test_alone_it_shows_its_help() -> None:
    assert "upload-mongodb" in call()


def test_options_before_a_command_are_not_lost() -> None:
    assert "--type stands before create-table" in call("--type", "job", "create-table", status=4)


def test_a_type_and_a_file_are_enough(tmp_path: Path) -> None:
    """faults 5.7: given --type and --file-path alone (users' guide), then a target by the type."""
    file = tmp_path / "data.json"
    file.write_text('[{"model": "m", "performance": 1}]')
    for kind in ("model", "perf"):
        shown = call("upload-mongodb", "--type", kind, "--file-path", str(file), "--dry-run")
        assert f"1 documents would be stored in madengine.{kind}" in shown
    call("upload-mongodb", "--file-path", str(file), "--dry-run", status=4)
