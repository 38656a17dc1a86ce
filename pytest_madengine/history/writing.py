"""The projection of a record to the rows of the history store, and how they get there.

Import lazily: it imports SQLAlchemy.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timezone
from typing import Any, Final

from sqlalchemy import Connection, Table, bindparam, exists, insert, select, update

from pytest_madengine.errors import RecordError
from pytest_madengine.gate.facts import values_of
from pytest_madengine.gate.key import gate_key
from pytest_madengine.gate.past import FIRST
from pytest_madengine.history import schema
from pytest_madengine.history.queries import fit, moment
from pytest_madengine.history.rowkeys import digest
from pytest_madengine.results.readings import number
from pytest_madengine.results.record import RunRecord
from pytest_madengine.results.rows import record_rows

#: Keys per query; SQLite takes 32,766 parameters, older ones 999.
_CHUNK: Final = 500
#: Documents read at once.
_DOCUMENTS: Final = 200
_NOT_COMPARED: Final[Mapping[str, Any]] = dict.fromkeys(schema.GATE_COLUMNS)
_FILL: Final = (
    update(schema.metrics)
    .where(
        schema.metrics.c.run_row == bindparam("in_run"), schema.metrics.c.position == bindparam("at_position")
    )
    .values({name: bindparam(name) for name in schema.GATE_COLUMNS})
)


def clean(text: str) -> str:
    """Text that every database takes: no NUL, and what is no Unicode in a readable form."""
    return text.replace("\0", "").encode("utf-8", "backslashreplace").decode()


def run_key(record: RunRecord) -> str:
    """The natural key of a record: its run id and item id."""
    return digest(clean(record.run_id), clean(record.item_id))


def add_batch(connection: Connection, batch: Mapping[str, RunRecord]) -> int:
    """Stores the records (by :func:`run_key`) that are not there; returns how many."""
    present = _identifiers(connection, schema.runs, "run_key", batch)
    new = {key: record for key, record in batch.items() if key not in present}
    if not new:
        return 0
    facts = {key: _facts(record) for key, record in new.items()}
    contexts = _ensure(connection, schema.contexts, "context_key", facts.values())
    run_rows = [_run_row(key, record, contexts[facts[key]["context_key"]]) for key, record in new.items()]
    connection.execute(insert(schema.runs), run_rows)
    runs = _identifiers(connection, schema.runs, "run_key", new)
    connection.execute(
        insert(schema.records),
        [{"run_row": runs[key], "document": json.dumps(record.to_dict())} for key, record in new.items()],
    )
    values = [
        {**value, **_copied(row), "run_row": runs[row["run_key"]]}
        for row in run_rows
        for value in _values(new[row["run_key"]])
    ]
    names = [value.pop("series") for value in values]
    series = _ensure(connection, schema.series, "series_key", names)
    for value, name in zip(values, names, strict=True):
        value["series_id"] = series[name["series_key"]]
    if values:
        connection.execute(insert(schema.metrics), values)
    return len(new)


def _ensure(
    connection: Connection, table: Table, key: str, rows: Iterable[Mapping[str, Any]]
) -> dict[str, int]:
    """Identifiers of rows by their key; rows that are not there are inserted.

    Another writer may insert one in between: the transaction is then repeated, and finds it.
    """
    wanted = {row[key]: dict(row) for row in rows}
    present = _identifiers(connection, table, key, wanted)
    missing = [row for name, row in wanted.items() if name not in present]
    if missing:
        connection.execute(insert(table), missing)
        present |= _identifiers(connection, table, key, [row[key] for row in missing])
    return present


def _identifiers(connection: Connection, table: Table, key: str, names: Iterable[str]) -> dict[str, int]:
    found: dict[str, int] = {}
    wanted = list(names)
    for start in range(0, len(wanted), _CHUNK):
        query = select(table.c[key], table.c.id).where(table.c[key].in_(wanted[start : start + _CHUNK]))
        found.update((name, identifier) for name, identifier in connection.execute(query))
    return found


def _facts(record: RunRecord) -> dict[str, Any]:
    """The row of ``mad_contexts``."""
    host, columns = record.host, record.columns
    values = {
        "hostname": host.get("hostname") or columns.get("machine_name"),
        "gpu_vendor": host.get("gpu_vendor"),
        "gpu_architecture": host.get("gpu_architecture") or columns.get("gpu_architecture"),
        "gpu_product": host.get("gpu_product_name"),
        "n_gpus": columns.get("n_gpus"),
        "training_precision": columns.get("training_precision"),
    }
    row: dict[str, Any] = {name: _text(value) for name, value in values.items()}
    facts = json.dumps({**host, **row}, sort_keys=True, default=str)
    return {**row, "facts": facts, "context_key": digest(facts)}


def _run_row(key: str, record: RunRecord, context: int) -> dict[str, Any]:
    finished = moment(record.finished) or moment(record.started) or _now()
    return {
        "run_key": key,
        "run_id": clean(record.run_id),
        "item_id": clean(record.item_id),
        "model": clean(record.model),
        "model_key": digest(clean(record.model)),
        "outcome": str(record.outcome),
        "reason": _text(record.reason),
        "phase": _text(record.phase),
        "exit_code": record.exit_code,
        "started_at": moment(record.started),
        "finished_at": finished,
        "fingerprint": fit(clean(record.fingerprint)),
        "context_id": context,
        "image": _text(record.image.get("name") or record.columns.get("docker_image")),
        "image_digest": _text(record.image.get("digest")),
        "git_commit": _text(record.columns.get("git_commit")),
        "infrastructure": record.infrastructure,
    }


def _copied(run_row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: run_row[name] for name in ("finished_at", "fingerprint", "context_id")}


def _values(record: RunRecord) -> Iterator[dict[str, Any]]:
    """Rows of ``mad_metrics`` without their identifiers; one per metric."""
    compared = gate_columns(record)
    for position, (row, metric) in enumerate(zip(record_rows(record), record.metrics, strict=False)):
        model, name = clean(row["model"]), clean(metric.name)
        yield {
            "position": position,
            "series": {"series_key": digest(model, name), "model": model, "metric": name},
            "outcome": row["status"],
            "value": clean(metric.value),
            "number": number(metric.value),
            **compared.get(position, _NOT_COMPARED),
        }


def gate_columns(record: RunRecord) -> dict[int, dict[str, Any]]:
    """The columns of the performance gate by the position of the metric; none where nothing is compared."""
    judged = {
        (entry.get("row", ""), entry.get("name", "")): entry for entry in record.gate.get("metrics", ())
    }
    result = {}
    for value in values_of(record):
        entry = judged.get((value.row, value.name), {})
        runs = entry.get("runs") or [value.number]
        result[value.position] = {
            "gate_key": digest(clean(gate_key(value.facts))),
            "verdict": entry.get("verdict") or None,
            "role": FIRST,
            "first_number": runs[0] if runs[0] != value.number else None,
        }
    return result


def fill_keys(connection: Connection) -> int:
    """Gives stored values the key by which they are compared, from their documents; returns how many got one.

    A document that this release cannot read stays as it is: its values are not compared.
    """
    table, last, filled = schema.metrics, 0, 0
    documents = schema.records.c
    unkeyed = exists().where(
        table.c.run_row == documents.run_row, table.c.gate_key.is_(None), table.c.number.is_not(None)
    )
    while True:
        query = (
            select(documents.run_row, documents.document)
            .where(documents.run_row > last, unkeyed)
            .order_by(documents.run_row)
            .limit(_DOCUMENTS)
        )
        batch = connection.execute(query).all()
        if not batch:
            return filled
        last = batch[-1].run_row
        rows = [row for run_row, document in batch for row in _keys_of(run_row, document)]
        if rows:
            connection.execute(_FILL, rows)
        filled += len(rows)


def _keys_of(run_row: int, document: str) -> Iterator[dict[str, Any]]:
    try:
        columns = gate_columns(RunRecord.from_dict(json.loads(document)))
    except (RecordError, AttributeError, KeyError, TypeError, ValueError):
        return  # of a release whose records are different: nothing to compare
    for position, values in columns.items():
        yield {"in_run": run_row, "at_position": position, **values}


def _text(value: object) -> str | None:
    """NULL for nothing."""
    return clean(str(value)) if value not in (None, "") else None


def _now() -> datetime:
    return datetime.now(timezone.utc).replace(tzinfo=None, microsecond=0)
