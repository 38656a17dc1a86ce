"""The history: 100,000 rows of perf.csv into SQLite and PostgreSQL, the last 20 of 1,000,000 values.

The reference of an upload is the driver alone: one ``executemany`` of the same rows into a table of the same
columns.  PostgreSQL is started here when it is installed.
"""

from __future__ import annotations

import csv
import itertools
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from benchmarks.common import Bar, BenchmarkError, Options, Report

ROWS = 100_000
VALUES = 1_000_000
#: Values of one (model, metric) series.
SERIES_LENGTH = 10_000
#: Upload over bare insertion: hashing, typing, comparison with earlier rows, the table of keys.
LIMIT_RATIO = 8.0
#: Milliseconds of a query.
LIMIT_QUERY = 5.0


def run(options: Options) -> Report:
    """All databases that are there."""
    report = Report()
    table = _perf_csv(options.directory / "perf.csv")
    with ExitStack() as exits:
        databases: dict[str, Callable[[str], str]] = {
            "SQLite": lambda name: f"sqlite:///{options.directory}/{name}.db"
        }
        if list(Path("/usr/lib/postgresql").glob("*/bin/postgres")):
            databases["PostgreSQL"] = exits.enter_context(_postgresql())
        else:
            report.notes.append("PostgreSQL is not installed: the Debian package postgresql")
        for name, make in databases.items():
            report.bars.append(_upload(name, make, table))
            report.bars.append(_last(name, make("trend"), options))
    return report


@contextmanager
def _postgresql() -> Iterator[Callable[[str], str]]:
    """A server of the end-to-end tests; gives the URL of a new database."""
    sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "e2e"))
    try:
        from history_servers import PostgreSql, running
    finally:
        sys.path.pop(0)
    with running(PostgreSql) as server:
        yield server.make_database


def _perf_csv(path: Path) -> Path:
    """Rows as runs write them: 200 models, 5 metrics, all different."""
    from pytest_madengine.results.columns import V2_COLUMNS

    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, V2_COLUMNS, restval="text of a usual length", lineterminator="\n")
        writer.writeheader()
        for number in range(ROWS):
            writer.writerow(
                {
                    "model": f"model_{number % 200}",
                    "metric": f"metric_{number % 5}",
                    "performance": f"{1000 + number % 977}.5",
                    "status": "SUCCESS",
                    "test_duration": f"{number}.25",
                    "relative_change": "",
                }
            )
    return path


def _upload(name: str, make: Callable[[str], str], table: Path) -> Bar:
    from pytest_madengine.history.upload import create_table, update_table

    seconds, bare = [], []
    for attempt in range(3):
        url = make(f"upload{attempt}")
        create_table(url)
        seconds.append(_timed(lambda url=url: _check(update_table(url, table).inserted, ROWS)))
        again = _timed(lambda url=url: _check(update_table(url, table).inserted, 0))
        bare.append(_bare(make(f"bare{attempt}"), table))
    mine, theirs = min(seconds), min(bare)
    detail = f"the same file again in {again:.2f} s; {ROWS / mine:.0f} rows per second"
    return Bar(f"{ROWS} rows into {name}", mine, theirs, "s", mine / theirs, "x", LIMIT_RATIO, detail)


def _check(inserted: int, expected: int) -> None:
    if inserted != expected:
        raise BenchmarkError(f"{inserted} rows were inserted instead of {expected}")


def _timed(action: Callable[[], object]) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def _bare(url: str, table: Path) -> float:
    """Seconds of the driver alone, the CSV reader of Python included."""
    connection, mark = _connect(url)
    with closing(connection):
        cursor = connection.cursor()

        def insert() -> None:
            with table.open(encoding="utf-8", newline="") as stream:
                rows = csv.reader(stream)
                header = next(rows)
                cursor.execute(f"CREATE TABLE bare ({', '.join(f'{column} TEXT' for column in header)})")
                marks = ", ".join([mark] * len(header))
                cursor.executemany(f"INSERT INTO bare VALUES ({marks})", list(rows))
            connection.commit()

        return _timed(insert)


def _connect(url: str) -> tuple[Any, str]:
    if url.startswith("sqlite"):
        return sqlite3.connect(url.removeprefix("sqlite:///")), "?"
    import psycopg

    return psycopg.connect(url.replace("+psycopg", "")), "%s"


def _last(name: str, url: str, options: Options) -> Bar:
    """The query as reports and the gate ask it, over series and keys in turn."""
    from pytest_madengine.history.store import HistoryStore

    _fill(url)
    times = []
    with HistoryStore(url) as store:
        models = itertools.cycle(range(VALUES // SERIES_LENGTH))
        for number in range(options.times(200)):
            model = f"model_{next(models)}"
            key = {"fingerprint": f"fp{number % 3}", "gpu_product": "MI300X"} if number % 2 else {}
            start = time.perf_counter()
            found = store.last(model, "metric", 20, **key)
            times.append((time.perf_counter() - start) * 1000)
            _check(len(found), 20)
    low, _, high = quantiles(times[3:], n=4)
    value = median(times[3:])
    detail = f"quartiles {low:.2f}-{high:.2f} ms; the query and a transaction of its own"
    return Bar(f"last 20 of {VALUES} values, {name}", value, None, "ms", value, "ms", LIMIT_QUERY, detail)


def _fill(url: str) -> None:
    """Values written past the store, which would take minutes; the rows are the same."""
    from pytest_madengine.history.rowkeys import digest
    from pytest_madengine.history.store import HistoryStore
    from pytest_madengine.results.record import Metric, Outcome, RunRecord

    host = {"hostname": "node", "gpu_product_name": "MI300X"}
    with HistoryStore(url) as store:
        for number in range(VALUES // SERIES_LENGTH):
            model = f"model_{number}"
            metric = (Metric("1.5", "metric"),)
            store.add([RunRecord("first", model, model, Outcome.SUCCESS, metrics=metric, host=host)])
    connection, mark = _connect(url)
    with closing(connection):
        cursor = connection.cursor()
        cursor.execute("SELECT id FROM mad_contexts")
        (context,) = cursor.fetchone()
        cursor.execute("SELECT id, series_key FROM mad_series")
        series = {key: identifier for identifier, key in cursor.fetchall()}
        cursor.execute("SELECT id, model FROM mad_runs")
        places = [(run, series[digest(model, "metric")]) for run, model in cursor.fetchall()]
        columns = "run_row, position, series_id, outcome, value, number, finished_at, fingerprint, context_id"
        statement = f"INSERT INTO mad_metrics ({columns}) VALUES ({', '.join([mark] * 9)})"
        for position in range(1, SERIES_LENGTH):
            day = f"2026-{position % 12 + 1:02}-{position % 28 + 1:02} {position % 24:02}:00:00.000000"
            rest = ("SUCCESS", "1.5", 1.5, day, f"fp{position % 3}", context)
            cursor.executemany(statement, [(run, position, identifier, *rest) for run, identifier in places])
        if mark == "%s":
            cursor.execute("ANALYZE")
        connection.commit()
