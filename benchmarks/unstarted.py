"""The first of 3,000 models fails under ``-x`` against the first of two: bars 8 times and 1.5 ms a model."""

from __future__ import annotations

import shutil
from pathlib import Path
from statistics import median

from benchmarks.common import Bar, Options, Report, Usage, alternate, child_environ, measure, pytest_command
from benchmarks.repositories import mad_repository

MODELS = 3_000
LIMIT_RATIO = 8.0
LIMIT_MILLISECONDS = 1.5
#: No engine is needed: the image of the first model cannot be had.
_CONFTEST = """import pytest

@pytest.fixture
def mad_image(mad_model):
    pytest.fail("no image", pytrace=False)
"""


def run(options: Options) -> Report:
    """Every model that never ran gets its record and its rows: the cost of each must not grow."""
    calls = []
    for count in (MODELS, 2):
        root = mad_repository(
            options.directory / f"unstarted-{count}", count, files={"conftest.py": _CONFTEST}
        )
        calls.append(lambda root=root: _session(options, root))
    many, two = (median(usage.cpu for usage in usages) for usages in alternate(options.times(3), *calls))
    each = (many - two) / (MODELS - 2) * 1e3
    name = f"{MODELS - 1} models never run, processor time"
    return Report(
        [
            Bar(name, many, two, "s", many / two, "x", LIMIT_RATIO),
            Bar("each of them", each, None, "ms", each, "ms/item", LIMIT_MILLISECONDS),
        ]
    )


def _session(options: Options, root: Path) -> Usage:
    """A session that fails, on results of its own: perf.csv would grow from one to the next."""
    results = root.with_name(f"{root.name}-results")
    shutil.rmtree(results, ignore_errors=True)
    results.mkdir()
    words = ("-x", "--mad-tags", "all", f"--mad-results-dir={results}", f"--mad-output={results}/perf.csv")
    return measure(pytest_command(*words), root, child_environ(options.directory / "pyc"), expected=1)
