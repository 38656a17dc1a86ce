"""Start-up of the command lines: ``--help`` and ``discover`` within a quarter of a second."""

from __future__ import annotations

import sys
from statistics import median

from benchmarks.common import Bar, Options, Report, alternate, child_environ, fastest, measure
from benchmarks.repositories import mad_repository

#: Seconds that a person does not notice.
LIMIT = 0.25
#: Ten thousand models are read and checked as well.
LIMIT_MANY = 0.6


def run(options: Options) -> Report:
    """Whole processes, against a Python that does nothing."""
    report = Report()
    environ = child_environ(options.directory / "pyc")
    module = [sys.executable, "-m", "pytest_madengine"]
    small = mad_repository(options.directory / "discover-1000", 1000)
    large = mad_repository(options.directory / "discover-10000", 10_000)
    cases = (
        ("madengine --help", [*module, "--help"], small, LIMIT),
        ("madengine discover, 1,000 models", [*module, "discover"], small, LIMIT),
        ("madengine discover --tags, 1,000 models", [*module, "discover", "--tags", "team_3"], small, LIMIT),
        ("madengine discover, 10,000 models", [*module, "discover"], large, LIMIT_MANY),
    )
    for name, argv, directory, limit in cases:
        ours, bare = alternate(
            options.times(20),
            lambda argv=argv, where=directory: measure(argv, where, environ),
            lambda where=directory: measure([sys.executable, "-c", "pass"], where, environ),
        )
        walls, floor = [usage.wall for usage in ours], [usage.wall for usage in bare]
        detail = f"median {median(walls):.3f} s, processor {median(usage.cpu for usage in ours):.3f} s"
        report.bars.append(
            Bar(name, fastest(walls), fastest(floor), "s", fastest(walls), "s", limit, detail=detail)
        )
    return report
