"""Result files into MongoDB, repeatable, older nights kept (contract 18.2).  pymongo is imported lazily."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pytest_madengine.errors import ConfigError, HistoryError
from pytest_madengine.history.documents import ResultFiles, job_document, read_results, run_documents
from pytest_madengine.history.rowkeys import upload_id
from pytest_madengine.history.urls import MongoServer
from pytest_madengine.secrets import Redactor, Secret

if TYPE_CHECKING:
    from pymongo import MongoClient
    from pymongo.collection import Collection

#: Fields that identify a document (contract 18.2).
UNIQUE_KEY: Final = ("run_id", "model", "metric", "run_index")
#: Fields of a stored document that a repeated upload does not compare.
_VOLATILE: Final = frozenset({"_id", "created_date", "_meta_uploaded_at", "_meta_source"})
_DUPLICATE: Final = 11000
#: Problems listed in a result; the rest is counted.
_PROBLEMS: Final = 20
#: Documents shown by a dry run.
_SAMPLE: Final = 3

Document = dict[str, Any]


@dataclass(frozen=True)
class MongoUpload:
    """What is uploaded, where to, and how."""

    path: Path
    database: str
    collection: str
    #: ``run`` (alias ``model``) or ``job``.
    kind: str = "run"
    #: Model whose rows are wanted; empty: all.
    name: str = ""
    unique_key: tuple[str, ...] = UNIQUE_KEY
    batch_size: int = 1000
    #: Replace stored documents of the same key and other content.
    upsert: bool = True
    #: Make the indexes.
    index: bool = True
    dry_run: bool = False


@dataclass
class MongoResult:
    """What an upload did.  All is well when :attr:`complete`."""

    documents: int = 0
    inserted: int = 0
    updated: int = 0
    unchanged: int = 0
    failed: int = 0
    #: One line per problem, at most 20.
    problems: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    #: Of a dry run: the first documents as JSON types.
    sample: tuple[Document, ...] = ()

    @property
    def complete(self) -> bool:
        """True when every document is stored (exit status 0)."""
        return self.failed == 0

    def fail(self, problem: str) -> None:
        """Counts a document that is not stored."""
        self.failed += 1
        if len(self.problems) < _PROBLEMS:
            self.problems += (problem,)


def upload_mongodb(server: MongoServer, upload: MongoUpload) -> MongoResult:
    """Stores the documents of a result file or directory.

    The same file again changes nothing; another run adds documents, older ones stay.  Rows without run id
    get that of the first upload that had them.  A dry run talks to no server.

    :raises ConfigError: an unreadable file, a wrong option or URI.
    :raises HistoryError: the server is down or refuses; what was stored stays, and the upload can be
        repeated.
    """
    _check(upload)
    files = read_results(upload.path)
    if not any(not upload.name or row.get("model") == upload.name for row in files.rows):
        of = f" of model '{upload.name}'" if upload.name else ""
        raise ConfigError(f"{upload.path} has no rows{of}: nothing to upload")
    result = MongoResult(warnings=files.warnings)
    if upload.dry_run:
        documents = _documents(upload, files, {})
        result.documents = len(documents)
        result.sample = tuple(json.loads(json.dumps(entry, default=str)) for entry in documents[:_SAMPLE])
        return result
    with _collection(server, upload) as collection:
        if upload.index:
            result.warnings += tuple(_make_indexes(collection, upload.unique_key))
        documents = _documents(upload, files, _known_runs(collection, upload, files))
        result.documents = len(documents)
        for start in range(0, len(documents), upload.batch_size):
            _store(collection, documents[start : start + upload.batch_size], upload, result)
    return result


def _check(upload: MongoUpload) -> None:
    if upload.kind not in ("run", "model", "perf", "job"):
        raise ConfigError(f"--type is '{upload.kind}'", hint="use run (or model, or perf), or job")
    if upload.batch_size < 1:
        raise ConfigError(f"--batch-size is {upload.batch_size}", hint="at least 1")
    for option, value in (("--database-name", upload.database), ("--collection-name", upload.collection)):
        if not value:
            raise ConfigError(f"{option} is missing")
    if not upload.unique_key or not all(upload.unique_key):
        raise ConfigError("--unique-key has an empty field name")


def _documents(upload: MongoUpload, files: ResultFiles, known: Mapping[str, str]) -> list[Document]:
    """Documents with the run ids that their rows have in the collection, or a new one."""
    source = files.source
    new = upload_id(files.keys[-1])
    if upload.kind == "job":
        return [job_document(files, upload.name, new, source)]
    return run_documents(files, upload.name, [known.get(key, new) for key in files.keys], source)


def _known_runs(collection: Collection[Document], upload: MongoUpload, files: ResultFiles) -> dict[str, str]:
    """Run ids of rows that an earlier upload stored, by row key: a file may have grown since."""
    if upload.kind == "job":
        return {}
    found: dict[str, str] = {}
    wanted = [key for key, row in zip(files.keys, files.rows, strict=True) if not row.get("run_id")]
    for start in range(0, len(wanted), upload.batch_size):
        query = {"_meta_row": {"$in": wanted[start : start + upload.batch_size]}, "rows": {"$exists": False}}
        for entry in collection.find(query, {"_meta_row": 1, "run_id": 1}):
            found[entry["_meta_row"]] = str(entry.get("run_id", ""))
    return found


def _make_indexes(collection: Collection[Document], unique_key: Sequence[str]) -> Iterator[str]:
    """The indexes of natural key, trend queries and repeated uploads; yields what could not be made."""
    from pymongo import ASCENDING, DESCENDING
    from pymongo.errors import OperationFailure

    wanted: list[tuple[list[tuple[str, int]], bool]] = [
        ([(name, ASCENDING) for name in unique_key], True),
        ([("model", ASCENDING), ("metric", ASCENDING), ("created_date", DESCENDING)], False),
        ([("_meta_row", ASCENDING)], False),
    ]
    for fields, unique in wanted:
        try:
            collection.create_index(fields, unique=unique)
        except OperationFailure as error:
            if error.code == 13:
                raise
            names = ", ".join(name for name, _ in fields)
            yield f"the {'unique ' if unique else ''}index on {names} was not made: {_reason(error)}"


def _store(
    collection: Collection[Document], batch: Sequence[Document], upload: MongoUpload, result: MongoResult
) -> None:
    stored = _stored(collection, batch, upload.unique_key)
    now = datetime.now(timezone.utc).replace(microsecond=0)
    fresh: list[Document] = []
    for document in batch:
        key = _key(document, upload.unique_key)
        present = stored.get(key)
        stamped = {**document, "created_date": document.get("created_date") or now, "_meta_uploaded_at": now}
        if present is None:
            fresh.append(stamped)
            # A second row of the same (coarse) key in this batch meets the first one.
            stored[key] = stamped
        elif _content(present) == _content(document):
            result.unchanged += 1
        elif not upload.upsert:
            result.fail(f"{_named(document, upload.unique_key)} is stored with other content")
        elif "_id" in present:
            kept = present.get("created_date") or stamped["created_date"]
            collection.replace_one({"_id": present["_id"]}, {**stamped, "created_date": kept})
            result.updated += 1
        else:
            # Not stored yet, but waiting to be: the later row wins.
            present.clear()
            present.update(stamped)
            result.updated += 1
    _insert(collection, fresh, upload, result)


def _insert(
    collection: Collection[Document], fresh: list[Document], upload: MongoUpload, result: MongoResult
) -> None:
    from pymongo.errors import BulkWriteError

    if not fresh:
        return
    try:
        collection.insert_many(fresh, ordered=False)
        result.inserted += len(fresh)
    except BulkWriteError as error:
        details = error.details or {}
        result.inserted += int(details.get("nInserted", 0))
        failures = list(details.get("writeErrors", ()))
        for failure in failures:
            document = fresh[failure["index"]]
            # Another upload of the same file was faster: the document is stored.
            if failure.get("code") == _DUPLICATE and _is_stored(collection, document, upload.unique_key):
                result.unchanged += 1
            else:
                text = " ".join(str(failure.get("errmsg", "refused")).split())
                result.fail(f"{_named(document, upload.unique_key)}: {text}")
        if not failures:
            raise


def _is_stored(collection: Collection[Document], document: Document, unique_key: Sequence[str]) -> bool:
    found = _stored(collection, [document], unique_key).get(_key(document, unique_key))
    return found is not None and _content(found) == _content(document)


def _stored(
    collection: Collection[Document], batch: Sequence[Document], unique_key: Sequence[str]
) -> dict[str, Document]:
    """Stored documents by natural key."""
    wanted = {_key(document, unique_key) for document in batch}
    query = {name: {"$in": _distinct(document.get(name) for document in batch)} for name in unique_key}
    found: dict[str, Document] = {}
    for document in collection.find(query):
        # The query takes each field by itself: it finds what belongs together, and may find more.
        key = _key(document, unique_key)
        if key in wanted:
            found[key] = document
    return found


def _distinct(values: Iterable[Any]) -> list[Any]:
    return list({json.dumps(value, default=str, sort_keys=True): value for value in values}.values())


def _key(document: Mapping[str, Any], unique_key: Sequence[str]) -> str:
    return json.dumps([document.get(name) for name in unique_key], default=str, sort_keys=True)


def _content(document: Mapping[str, Any]) -> str:
    kept = {name: value for name, value in document.items() if name not in _VOLATILE}
    return json.dumps(kept, default=str, sort_keys=True)


def _named(document: Mapping[str, Any], unique_key: Sequence[str]) -> str:
    return ", ".join(f"{name}={document.get(name)}" for name in unique_key)


@contextmanager
def _collection(server: MongoServer, upload: MongoUpload) -> Iterator[Collection[Document]]:
    """The collection; errors of the driver in one line, without the password."""
    from pymongo.errors import ConfigurationError, InvalidName, InvalidURI, PyMongoError

    redact = _passwords(server.uri.reveal()).text
    try:
        with _client(server) as client:
            yield client[upload.database][upload.collection]
    except InvalidName as error:
        raise ConfigError(f"database or collection name: {_reason(error)}") from None
    except (InvalidURI, ConfigurationError, UserWarning, ValueError) as error:
        raise ConfigError(
            f"MongoDB {server.safe}: {redact(_reason(error))}",
            hint="escape special characters of user and password (@ is %40)",
        ) from None
    except PyMongoError as error:
        raise HistoryError(
            f"MongoDB {server.safe}: {redact(_reason(error))}",
            hint="the upload can be repeated: what is stored stays as it is",
        ) from None


def _client(server: MongoServer) -> MongoClient[Document]:
    import pymongo

    with warnings.catch_warnings():
        # The driver only warns of an option it does not understand, and goes on: without TLS, perhaps.
        warnings.simplefilter("error", UserWarning)
        return pymongo.MongoClient(server.uri.reveal(), **_options(server))


def _options(server: MongoServer) -> dict[str, Any]:
    given = server.uri.reveal().lower()
    names = ("serverSelectionTimeoutMS", "connectTimeoutMS")
    options: dict[str, Any] = {name: server.timeout_ms for name in names if f"{name.lower()}=" not in given}
    if server.tls:
        options["tls"] = True
    return {**options, "tz_aware": True, "appname": "pytest-madengine"}


def _reason(error: Exception) -> str:
    details = getattr(error, "details", None)
    text = details.get("errmsg") if isinstance(details, Mapping) else None
    # Without the description of the topology, which is long and repeats the reason.
    return " ".join(str(text or error).split()).partition(", Timeout: ")[0]


def _passwords(uri: str) -> Redactor:
    from urllib.parse import unquote

    login = uri.partition("://")[2].rpartition("@")[0]
    password = login.partition(":")[2]
    return Redactor([Secret(password), Secret(unquote(password))] if password else ())
