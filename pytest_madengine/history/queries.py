"""Statements of the history store: what to look for, and the rows that come back.

Import lazily: it imports SQLAlchemy.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from typing import Any, Final

from sqlalchemy import Connection, Select, and_, select

from pytest_madengine.errors import ConfigError
from pytest_madengine.history import schema
from pytest_madengine.history.rowkeys import digest
from pytest_madengine.results.point import Point

#: Columns of ``mad_contexts`` that values may be compared within.
CONTEXT_KEYS: Final = (
    "hostname",
    "gpu_vendor",
    "gpu_architecture",
    "gpu_product",
    "n_gpus",
    "training_precision",
)
#: All names that ``last`` accepts besides model and metric.
KEYS: Final = (*CONTEXT_KEYS, "fingerprint", "outcome")


@dataclass(frozen=True)
class RunRow:
    """One stored run of an item, without its document.  Times are UTC ISO-8601; started may be empty."""

    run_id: str
    item_id: str
    model: str
    outcome: str
    reason: str
    phase: str
    exit_code: int | None
    started: str
    finished: str
    fingerprint: str
    image: str
    image_digest: str
    git_commit: str
    infrastructure: bool
    hostname: str
    gpu_architecture: str
    gpu_product: str

    def to_dict(self) -> dict[str, Any]:
        """JSON types only."""
        return asdict(self)


def fit(text: str) -> str:
    """A fingerprint for its column of 64 characters; a longer one counts by its hash."""
    return text if len(text) <= 64 else digest(text)


def iso(moment: datetime | None) -> str:
    """A stored time as UTC ISO-8601; empty for none."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ") if moment else ""


def moment(text: str) -> datetime | None:
    """UTC ISO-8601 text as it is stored: without zone, in whole seconds.  ``None`` for anything else."""
    try:
        value = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        return None
    if value.tzinfo is not None:
        value = value.astimezone(timezone.utc).replace(tzinfo=None)
    return value.replace(microsecond=0)


_M, _R, _S, _C = schema.metrics.c, schema.runs.c, schema.series.c, schema.contexts.c

_POINT_COLUMNS: Final = (
    *(_R.run_id, _R.item_id, _S.model, _S.metric, _M.value, _M.number, _M.outcome, _M.finished_at),
    *(_M.fingerprint, _R.image_digest, _C.hostname, _C.gpu_architecture, _C.gpu_product, _C.n_gpus),
    _C.training_precision,
)


def last_points(
    connection: Connection, model: str, metric: str, count: int, key: Mapping[str, str]
) -> list[Point]:
    """The newest values of one metric with this key, newest first.

    Three short look-ups: the series, the contexts (few, whatever the number of runs), then one range of the
    trend index from its end.
    """
    found = connection.execute(select(_S.id).where(_S.series_key == digest(model, metric))).scalar()
    if found is None:
        return []
    newest = select(_M.id).where(_M.series_id == found)
    facts = [_C[name] == value for name, value in key.items() if name in CONTEXT_KEYS]
    if facts:
        matching = connection.execute(select(_C.id).where(and_(*facts))).scalars().all()
        if not matching:
            return []
        newest = newest.where(_M.context_id.in_(matching))
    if "fingerprint" in key:
        newest = newest.where(_M.fingerprint == fit(key["fingerprint"]))
    if "outcome" in key:
        newest = newest.where(_M.outcome == key["outcome"])
    newest = newest.order_by(_M.finished_at.desc(), _M.id.desc()).limit(count)
    identifiers = connection.execute(newest).scalars().all()
    rows = connection.execute(_points().where(_M.id.in_(identifiers)).add_columns(_M.id)).all()
    order = {identifier: number for number, identifier in enumerate(identifiers)}
    return [_point(row[:-1]) for row in sorted(rows, key=lambda row: order[row[-1]])]


def _points() -> Select[Any]:
    joined = (
        schema.metrics.join(schema.runs, _M.run_row == _R.id)
        .join(schema.series, _M.series_id == _S.id)
        .join(schema.contexts, _M.context_id == _C.id)
    )
    return select(*_POINT_COLUMNS).select_from(joined)


def _point(row: Any) -> Point:
    run_id, item_id, model, metric, value, number, outcome, finished, *rest = row
    # MySQL gives NULL for nothing, others as well: a text is a text.
    texts = [text or "" for text in rest]
    return Point(run_id, item_id, model, metric, value, number, outcome, iso(finished), *texts)


def points_of_run(connection: Connection, run_id: str) -> list[Point]:
    """All values of a session, in the order of its items and rows."""
    query = _points().where(_R.run_id == run_id).order_by(_R.id, _M.position)
    return [_point(row) for row in connection.execute(query)]


_RUN_COLUMNS: Final = (
    *(_R.run_id, _R.item_id, _R.model, _R.outcome, _R.reason, _R.phase, _R.exit_code, _R.started_at),
    *(_R.finished_at, _R.fingerprint, _R.image, _R.image_digest, _R.git_commit, _R.infrastructure),
    *(_C.hostname, _C.gpu_architecture, _C.gpu_product),
)


def run_rows(
    connection: Connection,
    *,
    run_id: str = "",
    model: str = "",
    outcome: str = "",
    since: str = "",
    limit: int | None = None,
) -> list[RunRow]:
    """Stored runs, newest first.  :raises ConfigError: ``since`` is no ISO-8601 time."""
    joined = schema.runs.join(schema.contexts, _R.context_id == _C.id)
    query = select(*_RUN_COLUMNS).select_from(joined)
    if run_id:
        query = query.where(_R.run_id == run_id)
    if model:
        query = query.where(_R.model_key == digest(model))
    if outcome:
        query = query.where(_R.outcome == outcome)
    if since:
        start = moment(since)
        if start is None:
            raise ConfigError(f"'{since}' is no time", hint="write it as 2026-11-23 or 2026-11-23T21:00:00Z")
        query = query.where(_R.finished_at >= start)
    query = query.order_by(_R.finished_at.desc(), _R.id.desc()).limit(limit)
    return [_run(row) for row in connection.execute(query)]


def _run(row: Any) -> RunRow:
    values = dict(zip(RunRow.__dataclass_fields__, row, strict=True))
    for name in ("started", "finished"):
        values[name] = iso(values[name])
    for name, kind in RunRow.__dataclass_fields__.items():
        if kind.type == "str":
            values[name] = values[name] or ""
    return RunRow(**values)


def resolve_run(connection: Connection, text: str) -> str:
    """A run id from itself, from a beginning that only one has, or ``latest``, ``latest~1``, ...

    :raises ConfigError: none or several.
    """
    name, _, back = text.partition("~")
    if name == "latest" and (back or "0").isdecimal():
        return _latest(connection, int(back or "0"), text)
    exact = connection.execute(select(_R.run_id).where(_R.run_id == text).limit(1)).scalar()
    if exact is not None:
        return str(exact)
    begins = _R.run_id.startswith(text, autoescape=True)
    found = connection.execute(select(_R.run_id).where(begins).distinct().limit(5)).scalars().all()
    if len(found) != 1:
        hint = f"did you mean {', '.join(sorted(found))}?" if found else "see `madengine history list`"
        raise ConfigError(f"{'several runs begin with' if found else 'there is no run'} '{text}'", hint=hint)
    return str(found[0])


def _latest(connection: Connection, back: int, text: str) -> str:
    """By their last item, newest first; a few pages of the time index are enough."""
    seen: dict[str, None] = {}
    query = select(_R.run_id).order_by(_R.finished_at.desc(), _R.id.desc())
    with connection.execution_options(yield_per=500).execute(query) as rows:
        for (run_id,) in rows:
            seen.setdefault(run_id)
            if len(seen) > back:
                return str(run_id)
    raise ConfigError(f"there is no run '{text}': {len(seen)} runs are stored")


def documents(connection: Connection, run_id: str, item_id: str = "") -> list[dict[str, Any]]:
    """The complete records of a session, or of one item of it, as they were written."""
    joined = schema.records.join(schema.runs, schema.records.c.run_row == _R.id)
    query = select(schema.records.c.document).select_from(joined).where(_R.run_id == run_id).order_by(_R.id)
    if item_id:
        query = query.where(_R.run_key == digest(run_id, item_id))
    return [json.loads(document) for document in connection.execute(query).scalars()]


#: Columns of an export, in their order.
EXPORTED: Final = (
    *("run_id", "item_id", "model", "outcome", "reason", "metric", "performance", "number", "finished"),
    *("fingerprint", "image", "image_digest", "git_commit", "hostname", "gpu_architecture", "gpu_product"),
    *("n_gpus", "training_precision"),
)


def flat_rows(connection: Connection, *, run_id: str = "", model: str = "") -> Iterator[tuple[Any, ...]]:
    """One row per value, and one per run without any, oldest first, in the columns :data:`EXPORTED`."""
    joined = (
        schema.runs.join(schema.contexts, _R.context_id == _C.id)
        .outerjoin(schema.metrics, _M.run_row == _R.id)
        .outerjoin(schema.series, _M.series_id == _S.id)
    )
    columns = (
        *(_R.run_id, _R.item_id, _R.model, _S.model, _R.outcome, _M.outcome, _R.reason, _S.metric, _M.value),
        *(_M.number, _R.finished_at, _R.fingerprint, _R.image, _R.image_digest, _R.git_commit),
        *(_C.hostname, _C.gpu_architecture, _C.gpu_product, _C.n_gpus, _C.training_precision),
    )
    query = select(*columns).select_from(joined).order_by(_R.finished_at, _R.id, _M.position)
    if run_id:
        query = query.where(_R.run_id == run_id)
    if model:
        query = query.where(_R.model_key == digest(model))
    for row in connection.execution_options(yield_per=1000).execute(query):
        run, item, name, row_name, outcome, row_outcome, reason, metric, value, number, at, *rest = row
        head = (run, item, row_name or name, row_outcome or outcome, reason or "", metric or "")
        yield (*head, value or "", number, iso(at), *(text or "" for text in rest))
