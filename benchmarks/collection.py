"""Collecting 10,000 models against pytest collecting 10,000 bare items: bars 1.8 times and 90 us an item."""

from __future__ import annotations

import json
from statistics import median

from benchmarks.common import Bar, Options, Report, alternate, child_environ, measure, pytest_command
from benchmarks.repositories import BARE_CONFTEST, entries, mad_repository, project

ITEMS = 10_000
#: Dockerfiles and scripts that the models share.
PLACES = tuple(f"place_{number}" for number in range(100))
LIMIT_RATIO = 1.8
LIMIT_MICROSECONDS = 90.0


def run(options: Options) -> Report:
    """``--mad-tags all --collect-only`` of 1 and 10,000 models; the same file with bare items."""
    environ = child_environ(options.directory / "pyc")
    calls = []
    for count in (ITEMS, 1):
        models = mad_repository(options.directory / f"models-{count}", count, places=PLACES)
        bare = project(
            options.directory / f"bare-{count}",
            {"models.json": json.dumps(entries(count, PLACES), indent=1), "conftest.py": BARE_CONFTEST},
        )
        mine = pytest_command("--collect-only", "--mad-tags", "all")
        theirs = pytest_command("-p", "no:madengine", "--collect-only", "models.json")
        for argv, where in ((mine, models), (theirs, bare)):
            calls.append(lambda argv=argv, where=where: measure(argv, where, environ))
    found = alternate(options.times(9), *calls)

    cpu, wall = ([[getattr(usage, what) for usage in usages] for usages in found] for what in ("cpu", "wall"))
    many, bare_many, one, bare_one = map(median, cpu)
    least, least_wall = (min(times[0]) / min(times[1]) for times in (cpu, wall))
    slope, bare_slope = _slope(many, one), _slope(bare_many, bare_one)
    return Report(
        [
            Bar(
                *(f"collect {ITEMS} models, processor time", many, bare_many, "s"),
                *(many / bare_many, "x", LIMIT_RATIO),
                detail=f"ratio of minima {least:.2f}; of wall time {least_wall:.2f}",
            ),
            Bar(
                *("each model, processor time", slope, bare_slope, "us"),
                *(slope, "us/item", LIMIT_MICROSECONDS),
                detail=f"one model {one:.3f} s, one bare item {bare_one:.3f} s",
            ),
        ]
    )


def _slope(many: float, one: float) -> float:
    """Microseconds per item."""
    return (many - one) / (ITEMS - 1) * 1e6
