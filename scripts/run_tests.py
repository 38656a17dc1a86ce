#!/usr/bin/env python3
"""Runs the layers of the test suite and ends with one pytest-like line that counts all of them.

    scripts/run_tests.py            fast layers (unit, plugin), their coverage, then end-to-end
    scripts/run_tests.py --fast     only the fast layers and their coverage

Run it with the interpreter of the virtual environment (``make test`` does).  Every layer runs, also after a
failure of an earlier one; the exit status is 0 only when all passed and the coverage is reached.  JUnit
files lie in ``.local/test-results``.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / ".local" / "test-results"
COVERAGE = ROOT / ".local" / "coverage"
#: Branch coverage of the package by the fast layers, in percent.
COVERAGE_FLOOR = 90
NO_TESTS_COLLECTED = 5


@dataclass
class Totals:
    """What the closing line counts, and what went wrong beside the tests."""

    failed: int = 0
    errors: int = 0
    skipped: int = 0
    passed: int = 0
    problems: list[str] = field(default_factory=list)

    def add(self, report: Path) -> None:
        """Adds the counts of one JUnit file."""
        for suite in ElementTree.parse(report).getroot().iter("testsuite"):
            count = {key: int(suite.get(key, "0")) for key in ("tests", "failures", "errors", "skipped")}
            self.failed += count["failures"]
            self.errors += count["errors"]
            self.skipped += count["skipped"]
            self.passed += count["tests"] - count["failures"] - count["errors"] - count["skipped"]

    def line(self, seconds: float) -> str:
        """``==== 2 failed, 1090 passed, 3 skipped in 81.20s ====``; problems count as errors."""
        counts = (
            (self.failed, "failed"),
            (self.passed, "passed"),
            (self.skipped, "skipped"),
            (self.errors + len(self.problems), "errors"),
        )
        text = ", ".join(f"{number} {name}" for number, name in counts if number) or "no tests ran"
        return f" {text} in {seconds:.2f}s ".center(80, "=")


def has_tests(directory: str) -> bool:
    return any((ROOT / directory).rglob("test_*.py"))


def run_pytest(
    name: str,
    directories: list[str],
    workers: int,
    prefix: list[str],
    totals: Totals,
    words: Sequence[str] = (),
) -> None:
    """Runs one layer; whatever is not a counted failure becomes a problem.

    :param words: further words for pytest.
    """
    present = [directory for directory in directories if has_tests(directory)]
    if not present:
        totals.problems.append(f"{name}: no tests in {', '.join(directories)}")
        return
    report = RESULTS / f"{name}.xml"
    command = [*prefix, "-m", "pytest", *present, f"--junitxml={report}", "-o", f"junit_suite_name={name}"]
    command += words
    if workers > 1:
        # A file of end-to-end tests shares its servers.
        command += ["-n", str(workers), "--dist", "loadfile" if words else "worksteal"]
    print(f"\n--- {name}: {' '.join(command[1:])}", flush=True)
    status = subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL, check=False).returncode
    if report.is_file():
        before = totals.failed + totals.errors
        totals.add(report)
        if status == 1 and totals.failed + totals.errors > before:
            return
    if status == NO_TESTS_COLLECTED:
        totals.problems.append(f"{name}: pytest collected no tests")
    elif status != 0:
        totals.problems.append(f"{name}: pytest ended with status {status}")
    elif not report.is_file():
        totals.problems.append(f"{name}: pytest wrote no report")


def run_fast(totals: Totals) -> None:
    """Unit and plugin layers over all CPUs, measured; then the coverage floor."""
    shutil.rmtree(COVERAGE, ignore_errors=True)
    COVERAGE.mkdir(parents=True)
    os.environ["COVERAGE_FILE"] = str(COVERAGE / "data")
    coverage = [sys.executable, "-m", "coverage"]
    workers = int(os.environ.get("TEST_WORKERS") or os.cpu_count() or 1)
    run_pytest("fast", ["tests/unit", "tests/plugin"], workers, [*coverage, "run"], totals)
    steps = (
        ["combine", "--quiet"],
        ["xml", "--quiet", "-o", str(RESULTS / "coverage.xml")],
        ["report", f"--fail-under={COVERAGE_FLOOR}", "--skip-covered"],
    )
    for step in steps:
        print(f"\n--- coverage {' '.join(step)}", flush=True)
        if subprocess.run([*coverage, *step], cwd=ROOT, check=False).returncode != 0:
            totals.problems.append(f"coverage {step[0]} failed (floor: {COVERAGE_FLOOR} %)")
        # A process that a test killed while it wrote leaves a file that nobody can read: once is enough.
        for unreadable in COVERAGE.glob("data.*"):
            unreadable.unlink()
    del os.environ["COVERAGE_FILE"]


def main() -> int:
    parser = argparse.ArgumentParser(description="Runs the test suite layer by layer.")
    parser.add_argument("--fast", action="store_true", help="only the fast layers and their coverage")
    options = parser.parse_args()
    start = time.monotonic()
    totals = Totals()
    shutil.rmtree(RESULTS, ignore_errors=True)
    RESULTS.mkdir(parents=True)
    run_fast(totals)
    if not options.fast:
        workers = int(os.environ.get("E2E_WORKERS") or min(2, os.cpu_count() or 1))
        beside = ("-m", "parallel")
        run_pytest("e2e-parallel", ["tests/e2e"], workers, [sys.executable], totals, beside)
        # Serial: these tests watch processes, timeouts and signals on a real engine.
        run_pytest("e2e", ["tests/e2e"], 1, [sys.executable], totals, ("-m", "not parallel"))
    print()
    for problem in totals.problems:
        print(f"ERROR {problem}")
    print(totals.line(time.monotonic() - start), flush=True)
    return 1 if totals.failed or totals.errors or totals.problems else 0


if __name__ == "__main__":
    sys.exit(main())
