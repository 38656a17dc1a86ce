"""A run with 10,000 metrics against one with 1,000: the same cost per metric, from log to outputs."""

from __future__ import annotations

import json
import time
from pathlib import Path
from statistics import median

from benchmarks.common import Bar, Options, Report, alternate

FEW, MANY = 1_000, 10_000
#: Two medians of the same thing differ by less than this; quadratic work would make it 10.
LIMIT_RATIO = 2.0


def run(options: Options) -> Report:
    """Scans, judges, masks, writes and stores the metrics of one run, in turn few and many."""
    number = iter(range(1_000_000))

    def cost(metrics: int) -> float:
        return _once(options.directory / f"many-{next(number)}", metrics)

    many, few = alternate(options.times(5), lambda: cost(MANY), lambda: cost(FEW))
    mine, theirs = (median(values) * 1e6 / count for values, count in ((many, MANY), (few, FEW)))
    name = f"a metric of {MANY:,} of a run, of {FEW:,}"
    return Report([Bar(name, mine, theirs, "us", mine / theirs, "x", LIMIT_RATIO)])


def _once(directory: Path, metrics: int) -> float:
    from pytest_madengine.history.store import HistoryStore
    from pytest_madengine.history.urls import DatabaseUrl
    from pytest_madengine.perfcsv.table import PerfCsv
    from pytest_madengine.plugin.junit import case_properties
    from pytest_madengine.results.cleaning import clean_record
    from pytest_madengine.results.record import Metric, Outcome, RunRecord
    from pytest_madengine.results.scanner import LogScanner
    from pytest_madengine.secrets import Redactor, Secret

    directory.mkdir()
    log = b"".join(b"performance: %d.5 metric_%d\n" % (one, one) for one in range(metrics))
    redactor = Redactor()
    redactor.add(*(Secret(f"a-secret-value-{one}") for one in range(20)))
    with HistoryStore(DatabaseUrl(Secret(f"sqlite:///{directory}/history.db"))) as store:
        store.create()
        start = time.perf_counter()
        scanner = LogScanner()
        scanner.feed(log)
        scanner.findings()
        record = RunRecord(
            "20260101T000000Z-0000",
            "models.json::bench",
            "bench",
            Outcome.SUCCESS,
            metrics=tuple(Metric(f"metric_{one}", f"{one}.5") for one in range(metrics)),
            columns={"model": "bench", "tags": "a,b"},
        )
        record = clean_record(record, redactor)
        (directory / "record.json").write_text(json.dumps(record.to_dict(), indent=2))
        case_properties(record, "")
        PerfCsv(directory / "perf.csv").append(record)
        store.add([record])
        return time.perf_counter() - start
