"""``--mad-db`` and the commands of ``python -m pytest_madengine``."""

from __future__ import annotations

import sqlite3
import sys
from typing import Any

import pytest


def stored(path: Any) -> int:
    with sqlite3.connect(path) as connection:
        tables = [row[0] for row in connection.execute("select name from sqlite_master where type = 'table'")]
        runs = next(name for name in tables if name.endswith("runs"))
        return int(connection.execute(f"select count(*) from {runs}").fetchone()[0])


def test_results_reach_the_history_database(repo: Any) -> None:
    path = repo.path / "history.db"
    repo.model("m").model("bad", "exit 1")
    result = repo.run("--mad-tags", "demo", f"--mad-db=sqlite:///{path}")
    result.assert_outcomes(passed=1, failed=1)
    assert stored(path) == 2


def test_a_database_that_is_down_fails_no_run_and_can_be_replayed(repo: Any) -> None:
    repo.model("m")
    result = repo.run("--mad-tags", "demo", f"--mad-db=sqlite:///{repo.path}/absent/history.db")
    result.assert_outcomes(passed=1)
    assert result.ret == 0
    result.stdout.fnmatch_lines(["*1 of 1 results are not stored*", "*madengine history replay*"])
    records = next((repo.path / "mad-results").glob("*/records.jsonl"))
    url = f"sqlite:///{repo.path}/later.db"
    command = [sys.executable, "-m", "pytest_madengine", "history", "replay", str(records), "--db-url", url]
    for expected in ("1 records stored", "0 records stored"):
        done = repo.pytester.run(*command)
        assert done.ret == 0
        done.stdout.fnmatch_lines([f"{expected} in *"])
    assert stored(repo.path / "later.db") == 1


def test_a_database_file_that_cannot_be_made_ends_before_anything_runs(repo: Any) -> None:
    """faults 2.12: --mad-db names a directory / run / exit status 4 naming the option, nothing ran."""
    (repo.path / "taken").mkdir()
    result = repo.model("m").run("--mad-tags", "demo", "--mad-db=sqlite:///taken")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*--mad-db: taken cannot be written: it is a directory*"])
    assert not repo.records()


def test_a_wrong_url_ends_before_anything_runs(repo: Any) -> None:
    result = repo.model("m").run("--mad-tags", "demo", "--mad-db=nonsense")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*is no database URL*"])
    assert not repo.records()


def test_the_same_perf_csv_twice_inserts_nothing(repo: Any) -> None:
    repo.model("m").run("--mad-tags", "demo")
    url = f"sqlite:///{repo.path}/table.db"
    command = [sys.executable, "-m", "pytest_madengine", "database", "update-table", "--db-url", url]
    for expected in ("1 of 1 rows inserted", "0 of 1 rows inserted"):
        repo.pytester.run(*command).stdout.fnmatch_lines([f"{expected} in *"])
