"""Appending a result to a perf.csv of 100,000 rows against an empty one: the same cost, within noise."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from statistics import median, quantiles

from benchmarks.common import Bar, Options, Report, alternate

ROWS = 100_000
#: Two medians of the same thing differ by less than this on a busy machine.
LIMIT_RATIO = 1.25


def run(options: Options) -> Report:
    """Appends in turn to a small and a large file through the sink's own class."""
    from pytest_madengine.perfcsv.table import PerfCsv
    from pytest_madengine.results.record import Metric, Outcome, RunRecord

    record = RunRecord(
        "20260101T000000Z-0000",
        "models.json::bench",
        "bench",
        Outcome.SUCCESS,
        metrics=(Metric("samples_per_second", "123.4"),),
        columns={"model": "bench", "tags": "a,b", "machine_name": "host", "git_commit": "0" * 40},
    )
    template = options.directory / "template.csv"
    PerfCsv(template).append(record)
    small, large = options.directory / "small.csv", options.directory / "large.csv"
    shutil.copy(template, small)
    header, row = template.read_bytes().splitlines(keepends=True)
    large.write_bytes(header + row * ROWS)
    tables = {path: PerfCsv(path) for path in (large, small)}

    def append(path: Path) -> float:
        start = time.perf_counter()
        tables[path].append(record)
        return time.perf_counter() - start

    big, little = alternate(options.times(300), lambda: append(large), lambda: append(small))
    spread = [quantiles(values, n=4) for values in (big, little)]
    detail = "; ".join(
        f"{name} quartiles {low * 1e3:.2f}-{high * 1e3:.2f} ms"
        for name, (low, _, high) in zip(("large", "empty"), spread, strict=True)
    )
    mine, theirs = median(big) * 1000, median(little) * 1000
    name = f"append to a perf.csv of {ROWS} rows"
    return Report([Bar(name, mine, theirs, "ms", mine / theirs, "x", LIMIT_RATIO, detail)])
