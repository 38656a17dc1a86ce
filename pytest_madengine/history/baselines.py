"""Earlier values that new ones are compared with, of all models of a session at once.

Import lazily: it imports SQLAlchemy.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, select

from pytest_madengine.errors import RecordError
from pytest_madengine.gate.facts import shared_facts
from pytest_madengine.gate.past import FIRST, MOST, Earlier
from pytest_madengine.history import schema
from pytest_madengine.history.rowkeys import digest
from pytest_madengine.results.record import Outcome, RunRecord

#: Models per query.
_CHUNK: Final = 500
#: Values kept of a key: those that do not count (regressions, other runs of a session) are among them.
_KEPT: Final = 4 * MOST


class Baselines:
    """The stored values of some models by the hash of their key.

    :param runs: session and end of each run, by its number in the store.
    :param rows: (number of the run, number, number of the first run, role, verdict) by key, newest first.
    """

    def __init__(
        self,
        runs: Mapping[int, tuple[str, datetime]] | None = None,
        rows: Mapping[str, Sequence[Sequence[Any]]] | None = None,
    ) -> None:
        self._runs = runs or {}
        self._rows = rows or {}

    def __len__(self) -> int:
        return len(self._rows)

    def earlier(self, key: str) -> tuple[Earlier, ...]:
        """The values of a key (``digest`` of its text), newest first."""
        return tuple(
            Earlier(*self._runs[run], number if first is None else first, role or FIRST, verdict or "")
            for run, number, first, role, verdict, _key in self._rows.get(key, ())
        )


def read_baselines(connection: Connection, models: Iterable[str], since: datetime) -> Baselines:
    """The values of SUCCESS runs of these models that finished since then.

    :param models: names of items' models; their rows of multiple results come along.
    """
    run, metric = schema.runs.c, schema.metrics.c
    keys = [digest(model) for model in dict.fromkeys(models)]
    runs: dict[int, tuple[str, datetime]] = {}
    found: dict[str, list[Sequence[Any]]] = {}
    for start in range(0, len(keys), _CHUNK):
        chosen = (
            run.model_key.in_(keys[start : start + _CHUNK]),
            run.finished_at >= since,
            run.outcome == str(Outcome.SUCCESS),
        )
        whose = select(run.id, run.run_id, run.finished_at).where(*chosen)
        runs.update((row, (session, finished)) for row, session, finished in connection.execute(whose).all())
        values = (
            select(metric.run_row, metric.number, metric.first_number, metric.role, metric.verdict)
            .add_columns(metric.gate_key)
            .join(schema.runs, metric.run_row == run.id)
            .where(*chosen, metric.gate_key.is_not(None))
            # The order of the index: nothing is sorted.
            .order_by(run.model_key.desc(), run.finished_at.desc(), run.id.desc())
        )
        # Straight from the driver: all of it numbers and texts, and rows of SQLAlchemy cost as much again.
        for value in connection.execute(values).cursor.fetchall():
            of_key = found.setdefault(value[-1], [])
            # A run that was stored between the two queries is one of the future.
            if len(of_key) < _KEPT and value[0] in runs:
                of_key.append(value)
    return Baselines(runs, found)


def read_context(connection: Connection, session: str, key: str) -> dict[str, str]:
    """The facts of the run of a session that has a value of this key; empty when there is none."""
    document = connection.execute(
        select(schema.records.c.document)
        .select_from(
            schema.runs.join(schema.metrics, schema.metrics.c.run_row == schema.runs.c.id).join(
                schema.records, schema.records.c.run_row == schema.runs.c.id
            )
        )
        .where(schema.runs.c.run_id == session, schema.metrics.c.gate_key == key)
        .limit(1)
    ).scalar()
    if document is None:
        return {}
    try:
        return shared_facts(RunRecord.from_dict(json.loads(document)))
    except (RecordError, AttributeError, KeyError, TypeError, ValueError):
        return {}  # written by another release: nothing is known to have changed
