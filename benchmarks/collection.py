"""Collecting 10,000 models against pytest collecting 10,000 bare items: bars 1.8 times and 90 us an item."""

from __future__ import annotations

import json
from statistics import median

from benchmarks.common import Bar, Options, Report, alternate, child_environ, measure, pytest_command
from benchmarks.repositories import BARE_CONFTEST, entries, mad_repository, project

ITEMS = 10_000
LIMIT_RATIO = 1.8
LIMIT_MICROSECONDS = 90.0


def run(options: Options) -> Report:
    """``--mad-tags all --collect-only`` of 1 and 10,000 models; the same file with bare items."""
    environ = child_environ(options.directory / "pyc")
    calls = []
    for count in (ITEMS, 1):
        models = mad_repository(options.directory / f"models-{count}", count)
        bare = project(
            options.directory / f"bare-{count}",
            {"models.json": json.dumps(entries(count), indent=1), "conftest.py": BARE_CONFTEST},
        )
        mine = pytest_command("--collect-only", "--mad-tags", "all")
        theirs = pytest_command("-p", "no:madengine", "--collect-only", "models.json")
        for argv, where in ((mine, models), (theirs, bare)):
            calls.append(lambda argv=argv, where=where: measure(argv, where, environ))
    many, bare_many, one, bare_one = alternate(options.times(9), *calls)

    report = Report()
    for what in ("cpu", "wall"):
        seconds = [[getattr(usage, what) for usage in usages] for usages in (many, bare_many, one, bare_one)]
        ours, bare_all, single, bare_single = map(median, seconds)
        report.bars.append(
            Bar(
                *(f"collect {ITEMS} models, {what} time", ours, bare_all, "s"),
                *(ours / bare_all, "x", LIMIT_RATIO),
                detail=f"ratio of minima {min(seconds[0]) / min(seconds[1]):.2f}",
            )
        )
        slope, bare_slope = _slope(ours, single), _slope(bare_all, bare_single)
        report.bars.append(
            Bar(
                *(f"each model, {what} time", slope, bare_slope, "us", slope, "us/item", LIMIT_MICROSECONDS),
                detail=f"one model {single:.3f} s, one bare item {bare_single:.3f} s",
            )
        )
    return report


def _slope(many: float, one: float) -> float:
    """Microseconds per item."""
    return (many - one) / (ITEMS - 1) * 1e6
