"""The MongoDB upload with a collection in memory; test_history_mongo_server has a real one."""

from __future__ import annotations

import contextlib
import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from history_records import write_csv
from pymongo.errors import BulkWriteError, OperationFailure
from pytest_madengine.errors import ConfigError, HistoryError
from pytest_madengine.history import mongo
from pytest_madengine.history.mongo import MongoResult, MongoUpload, upload_mongodb
from pytest_madengine.history.urls import MongoServer, mongo_server
from pytest_madengine.results.columns import V2_COLUMNS
from pytest_madengine.secrets import Secret

SERVER = mongo_server("mongodb://127.0.0.1:1/", {"MONGO_TIMEOUT_MS": "50"})


class Collection:
    """The few verbs that the upload uses."""

    def __init__(self) -> None:
        self.documents: list[dict[str, Any]] = []
        self.indexes: list[tuple[tuple[str, ...], bool]] = []
        self.index_error: OperationFailure | None = None
        #: Stored by somebody else at the moment of the next insertion.
        self.rival: list[dict[str, Any]] = []
        self.refuse = False

    def create_index(self, fields: list[tuple[str, int]], unique: bool) -> None:
        if unique and self.index_error is not None:
            raise self.index_error
        self.indexes.append((tuple(name for name, _ in fields), unique))

    def find(self, query: dict[str, Any], fields: Any = None) -> list[dict[str, Any]]:
        def matches(document: dict[str, Any]) -> bool:
            return all(
                document.get(name) in condition["$in"] if "$in" in condition else name not in document
                for name, condition in query.items()
            )

        return [copy.deepcopy(document) for document in self.documents if matches(document)]

    def insert_many(self, fresh: list[dict[str, Any]], ordered: bool) -> None:
        assert not ordered
        if self.refuse:
            raise BulkWriteError({"nInserted": 0, "writeErrors": [], "writeConcernErrors": ["x"]})
        self.documents += self.rival
        taken = [mongo._key(document, mongo.UNIQUE_KEY) for document in self.rival]
        errors = []
        for index, document in enumerate(fresh):
            if mongo._key(document, mongo.UNIQUE_KEY) in taken:
                errors.append({"index": index, "code": 11000, "errmsg": "duplicate key"})
            else:
                self.documents.append({**copy.deepcopy(document), "_id": len(self.documents)})
        if errors:
            raise BulkWriteError({"nInserted": len(fresh) - len(errors), "writeErrors": errors})

    def replace_one(self, query: dict[str, Any], document: dict[str, Any]) -> None:
        (index,) = (n for n, entry in enumerate(self.documents) if entry["_id"] == query["_id"])
        self.documents[index] = {**copy.deepcopy(document), "_id": query["_id"]}


@pytest.fixture
def collection(monkeypatch: pytest.MonkeyPatch) -> Collection:
    collection = Collection()

    @contextlib.contextmanager
    def opened(server: MongoServer, upload: MongoUpload) -> Iterator[Collection]:
        yield collection

    monkeypatch.setattr(mongo, "_collection", opened)
    return collection


def rows(*performances: str, **cells: str) -> list[dict[str, str]]:
    return [{"model": "m", "performance": value, "metric": "sps", **cells} for value in performances]


def send(path: Path, entries: list[dict[str, str]], **options: Any) -> MongoResult:
    names = [*V2_COLUMNS, *(name for name in ("run_id",) if any(name in entry for entry in entries))]
    write_csv(path, entries, names)
    return upload_mongodb(SERVER, MongoUpload(path, "db", "c", **options))


def counts(result: MongoResult) -> tuple[int, int, int, int]:
    return result.inserted, result.updated, result.unchanged, result.failed


def test_the_same_file_twice_changes_nothing(collection: Collection, tmp_path: Path) -> None:
    """18.2: equal rows of a file are documents of their own; the second upload leaves all as they are."""
    path = tmp_path / "perf_entry.csv"
    assert counts(send(path, rows("1", "1", "2"))) == (3, 0, 0, 0)
    before = copy.deepcopy(collection.documents)
    assert counts(send(path, rows("1", "1", "2"))) == (0, 0, 3, 0)
    assert collection.documents == before
    assert [entry["run_index"] for entry in before] == [0, 1, 2]
    assert len({entry["run_id"] for entry in before}) == 1
    assert {"created_date", "_meta_uploaded_at", "_meta_source", "system_env", "logs"} <= set(before[0])
    assert collection.indexes[0] == (("run_id", "model", "metric", "run_index"), True)


def test_two_nights(collection: Collection, tmp_path: Path) -> None:
    """Defect 20: given two runs of one model / when both are uploaded / then there are two documents."""
    send(tmp_path / "perf_entry.csv", rows("1"))
    assert counts(send(tmp_path / "perf_entry.csv", rows("2"))) == (1, 0, 0, 0)
    assert [entry["performance"] for entry in collection.documents] == [1, 2]


def test_a_file_that_grows(collection: Collection, tmp_path: Path) -> None:
    path = tmp_path / "perf.csv"
    send(path, rows("1", "1"))
    assert counts(send(path, rows("1", "1", "1"))) == (1, 0, 2, 0)
    assert counts(send(path, rows("1", "1", "1"))) == (0, 0, 3, 0)


def test_an_upload_that_broke_off(collection: Collection, tmp_path: Path) -> None:
    """Some batches are stored; the next try adds the others with the same run id."""
    path = tmp_path / "perf.csv"
    send(path, rows(*"1122334455"), batch_size=3)
    complete = copy.deepcopy(collection.documents)
    del collection.documents[4:]
    assert counts(send(path, rows(*"1122334455"), batch_size=3)) == (6, 0, 4, 0)
    volatile = ("_meta_uploaded_at", "created_date", "_id")
    for document in (*complete, *collection.documents):
        for name in volatile:
            document.pop(name)
    assert collection.documents == complete


@pytest.mark.parametrize(("upsert", "expected"), [(True, (0, 1, 0, 0)), (False, (0, 0, 0, 1))])
def test_other_content(collection: Collection, tmp_path: Path, upsert: bool, expected: Any) -> None:
    """A stored document with the same key and other content: replaced, or with --no-upsert refused."""
    path = tmp_path / "x.csv"
    send(path, rows("1", run_id="r"))
    created = collection.documents[0]["created_date"]
    result = send(path, rows("2", run_id="r"), upsert=upsert)
    assert counts(result) == expected
    assert result.complete is upsert
    assert collection.documents[0]["performance"] == (2 if upsert else 1)
    assert collection.documents[0]["created_date"] == created
    if not upsert:
        assert result.problems == ("run_id=r, model=m, metric=sps, run_index=0 is stored with other content",)


def test_a_coarse_key(collection: Collection, tmp_path: Path) -> None:
    """With -k model,metric the later row wins, within a file and between files."""
    key = ("model", "metric")
    send(tmp_path / "x.csv", rows("1", "2"), unique_key=key)
    assert [entry["performance"] for entry in collection.documents] == [2]
    send(tmp_path / "x.csv", rows("3"), unique_key=key)
    assert [entry["performance"] for entry in collection.documents] == [3]
    result = send(tmp_path / "x.csv", rows(*map(str, range(30))), unique_key=key, upsert=False)
    assert result.failed == 30
    assert len(result.problems) == 20


def test_another_upload_is_faster(collection: Collection, tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    send(path, rows("1", "2", run_id="r"))
    stored = collection.documents
    collection.documents, collection.rival = [], [stored[0], {**stored[1], "performance": 9}]
    result = send(path, rows("1", "2", "3", run_id="r"))
    assert counts(result) == (1, 0, 1, 1)
    assert "duplicate key" in result.problems[0]


def test_a_refusal_without_a_document(collection: Collection, tmp_path: Path) -> None:
    collection.refuse = True
    with pytest.raises(BulkWriteError):
        send(tmp_path / "x.csv", rows("1"))


def test_a_job(collection: Collection, tmp_path: Path) -> None:
    """18.2: one document with all rows, environment and logs."""
    write_csv(tmp_path / "perf_entry.csv", rows("1", "2"), V2_COLUMNS)
    (tmp_path / "m_env.csv").write_text("a|1\n")
    (tmp_path / "m.log").write_text("hello")
    upload = MongoUpload(tmp_path, "db", "c", kind="job")
    assert counts(upload_mongodb(SERVER, upload)) == (1, 0, 0, 0)
    assert counts(upload_mongodb(SERVER, upload)) == (0, 0, 1, 0)
    (document,) = collection.documents
    assert [row["performance"] for row in document["rows"]] == [1, 2]
    assert document["system_env"] == {"a": "1"}
    assert document["logs"] == {"m_log": "hello"}
    # Its rows are no documents of their own: an upload of them is another one.
    assert counts(send(tmp_path / "perf_entry.csv", rows("1", "2"))) == (2, 0, 0, 0)


def test_rows_of_one_model(collection: Collection, tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    entries = [*rows("1"), *rows("2", model="other")]
    assert counts(send(path, entries, name="other", kind="model")) == (1, 0, 0, 0)
    assert counts(send(path, entries)) == (1, 0, 1, 0)
    with pytest.raises(ConfigError, match="no rows of model 'absent'"):
        send(path, entries, name="absent")
    with pytest.raises(ConfigError, match="no rows: nothing"):
        send(path, [])


@pytest.mark.parametrize("index", [True, False])
def test_indexes(collection: Collection, tmp_path: Path, index: bool) -> None:
    send(tmp_path / "x.csv", rows("1"), index=index)
    assert bool(collection.indexes) is index


def test_an_index_that_cannot_be_made_is_a_warning(collection: Collection, tmp_path: Path) -> None:
    """Older documents may share a key; the upload compares by itself."""
    collection.index_error = OperationFailure("E11000 duplicate key", 11000)
    result = send(tmp_path / "x.csv", rows("1"))
    assert result.warnings == (
        "the unique index on run_id, model, metric, run_index was not made: E11000 duplicate key",
    )
    collection.index_error = OperationFailure("not authorized", 13)
    with pytest.raises(OperationFailure):
        send(tmp_path / "x.csv", rows("1"))


def test_a_dry_run_talks_to_no_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(mongo, "_collection")
    result = send(tmp_path / "x.csv", rows(*"12345"), dry_run=True)
    assert (result.documents, counts(result)) == (5, (0, 0, 0, 0))
    assert [entry["performance"] for entry in result.sample] == [1, 2, 3]
    json.dumps(result.sample)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "night"}, "--type"),
        ({"batch_size": 0}, "--batch-size"),
        ({"database": ""}, "--database-name"),
        ({"collection": ""}, "--collection-name"),
        ({"unique_key": ()}, "--unique-key"),
        ({"unique_key": ("a", "")}, "--unique-key"),
    ],
)
def test_wrong_options(options: dict[str, Any], message: str, tmp_path: Path) -> None:
    upload = MongoUpload(**{"path": tmp_path, "database": "d", "collection": "c", **options})
    with pytest.raises(ConfigError, match=message):
        upload_mongodb(SERVER, upload)


def test_a_server_that_is_down(tmp_path: Path) -> None:
    """One line, and the password is not in it."""
    server = mongo_server(
        None, {"MONGO_PORT": "1", "MONGO_USER": "u", "MONGO_PASSWORD": "hush/hush", "MONGO_TIMEOUT_MS": "50"}
    )
    path = write_csv(tmp_path / "x.csv", rows("1"), V2_COLUMNS)
    with pytest.raises(HistoryError) as raised:
        upload_mongodb(server, MongoUpload(path, "db", "c"))
    text = f"{raised.value}{raised.value.hint}"
    assert "Connection refused" in text
    assert "hush" not in text
    assert "\n" not in text


@pytest.mark.parametrize(
    ("uri", "database", "message"),
    [
        ("mongodb://u:h@ush@127.0.0.1/", "db", "escaped"),
        ("mongodb://127.0.0.1:99999/", "db", "Port"),
        ("mongodb://127.0.0.1:1/?tls=maybe", "db", "tls"),
        ("mongodb://127.0.0.1:1/", "a b", "name"),
    ],
)
def test_wrong_settings(uri: str, database: str, message: str, tmp_path: Path) -> None:
    path = write_csv(tmp_path / "x.csv", rows("1"), V2_COLUMNS)
    with pytest.raises(ConfigError, match=message) as raised:
        upload_mongodb(MongoServer(Secret(uri), 50), MongoUpload(path, database, "c"))
    assert "h@ush" not in str(raised.value)


def test_options_of_the_client() -> None:
    """Defect 41: TLS can be required; limits that the URI names win."""
    options = mongo._options(MongoServer(Secret("mongodb://h/?connectTimeoutMS=1"), 7, tls=True))
    assert options["tls"] is True
    assert options["serverSelectionTimeoutMS"] == 7
    assert "connectTimeoutMS" not in options
    assert "tls" not in mongo._options(SERVER)
