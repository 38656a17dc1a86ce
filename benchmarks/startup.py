"""What an unrelated pytest run pays for having the plugin installed: bar 10 ms."""

from __future__ import annotations

import subprocess
import sys
from statistics import median

from benchmarks.common import (
    Bar,
    BenchmarkError,
    Options,
    Report,
    alternate,
    child_environ,
    fastest,
    measure,
    pair_median,
    pytest_command,
)
from benchmarks.repositories import project

LIMIT_MS = 10.0
_TESTS = (1, 50)
_HEAVY = ("pydantic", "docker", "pandas", "sqlalchemy", "pymongo", "boto3", "jinja2")


def run(options: Options) -> Report:
    """Installed and inactive against ``-p no:madengine``, in projects of 1 and 50 tests."""
    report = Report()
    environ = child_environ(options.directory / "pyc")
    for count in _TESTS:
        text = "\n\n".join(f"def test_{number}():\n    pass\n" for number in range(count))
        directory = project(options.directory / f"unrelated-{count}", {"test_unrelated.py": text})
        commands = [pytest_command(), pytest_command("-p", "no:madengine")]
        calls = [lambda argv=argv, where=directory: measure(argv, where, environ) for argv in commands]
        ours, bare = alternate(options.times(40), *calls)
        for what, words in (("cpu", "processor"), ("wall", "wall")):
            mine = [getattr(usage, what) * 1000 for usage in ours]
            theirs = [getattr(usage, what) * 1000 for usage in bare]
            # What else happens on a busy machine takes more than the 10 ms that are looked for.
            more = fastest(mine) - fastest(theirs)
            usual = pair_median(zip(mine, theirs, strict=True))
            name = f"inactive plugin, {count} test{'s' if count > 1 else ''}, {words} time"
            report.bars.append(
                Bar(
                    *(name, fastest(mine), fastest(theirs), "ms", more, "ms more", LIMIT_MS),
                    detail=f"medians {median(mine):.1f} and {median(theirs):.1f} ms, "
                    f"median of the differences of neighbours {usual:+.1f} ms",
                )
            )
    report.bars.append(_imports(environ))
    return report


def _imports(environ: dict[str, str]) -> Bar:
    """Heavy libraries that importing the entry point brings in."""
    code = f"import sys, pytest_madengine.plugin; print(*[n for n in {_HEAVY!r} if n in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise BenchmarkError(done.stderr)
    found = done.stdout.split()
    name = "heavy libraries imported with the entry point"
    return Bar(name, len(found), None, "", len(found), "libraries", 0, " ".join(found))
