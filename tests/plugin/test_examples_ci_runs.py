"""The scripts of examples/ci, run as their CI systems run them, with bash in place of containers."""

from __future__ import annotations

import os
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest

from ci_files import GITHUB, GITLAB, JENKINS, Step, steps
from docs_pages import Block
from docs_repositories import prepare

#: What each CI system sets by itself.
VARIABLES = {
    JENKINS: {"BUILD_NUMBER": "7", "CI": "true"},
    GITLAB: {"GITLAB_CI": "true", "CI": "true"},
    GITHUB: {"GITHUB_ACTIONS": "true", "CI": "true", "GITHUB_STEP_SUMMARY": "summary.md"},
}
each = pytest.mark.parametrize("path", list(VARIABLES), ids=lambda path: str(path.name))


@pytest.fixture
def checkout(repo: Any) -> Path:
    """A copy of examples/mad with an environment that has the plugin: what the install step leaves."""
    prepare(repo, Block(Path("page.md"), 1, "bash", ""))
    binaries = repo.path / ".venv" / "bin"
    binaries.mkdir(parents=True)
    (binaries / "pytest").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m pytest "$@"\n')
    (binaries / "pytest").chmod(0o755)
    path: Path = repo.path
    return path


def run(checkout: Path, path: Path, **more: str) -> subprocess.CompletedProcess[str]:
    (step,) = [one for one in steps(path) if one.is_run]
    return execute(step, checkout, {**VARIABLES[path], **more})


def execute(step: Step, checkout: Path, variables: dict[str, str]) -> subprocess.CompletedProcess[str]:
    ours = ("MAD_", "GITHUB_", "GITLAB_", "PYTEST_", "COVERAGE_")
    environment = {name: text for name, text in os.environ.items() if not name.startswith(ours)}
    return subprocess.run(
        [*step.shell, step.text],
        cwd=checkout,
        env={**environment, "MAD_GPU_LOCK_DIR": str(checkout / "locks"), **step.environment, **variables},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


@each
def test_a_good_night(checkout: Path, path: Path) -> None:
    done = run(checkout, path)
    assert done.returncode == 0, done.stdout + done.stderr
    cases = ElementTree.parse(checkout / "junit.xml").getroot().findall(".//testcase")
    assert {"demo_signing", "demo_matmul"} <= {case.get("name") for case in cases}
    assert (checkout / "report.html").read_text().count("<html") == 1
    assert "<html" in (checkout / "site/index.html").read_text()
    assert (checkout / "perf.csv").exists()
    assert list((checkout / "mad-results").glob("*/records.jsonl"))


@each
def test_a_failing_model_fails_the_job(checkout: Path, path: Path) -> None:
    """And leaves everything that is archived."""
    done = run(checkout, path, MAD_TAGS="failing")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "script exited with 7" in (checkout / "junit.xml").read_text()


@each
def test_tags_are_no_shell(checkout: Path, path: Path) -> None:
    """Whoever may start a build may choose models, not run commands; and a wrong tag fails the job."""
    done = run(checkout, path, MAD_TAGS='demo"; touch owned; $(touch owned) `touch owned`')
    assert done.returncode == 4
    assert not (checkout / "owned").exists()


def test_github(checkout: Path) -> None:
    done = run(checkout, GITHUB, MAD_TAGS="demo_signing,failing")
    assert "::error file=models.json," in done.stdout
    assert "## MAD models: 1 ❌ failed, 1 ✅ succeeded" in (checkout / "summary.md").read_text()
    assert (checkout / "benchmark.json").exists()


def test_gitlab(checkout: Path) -> None:
    """The family of JUnit XML that names files, and the metrics report."""
    run(checkout, GITLAB, MAD_TAGS="demo_signing")
    (case,) = ElementTree.parse(checkout / "junit.xml").getroot().findall(".//testcase")
    assert case.get("file") == "models.json"
    assert 'mad_status{model="demo_signing"' in (checkout / "metrics.txt").read_text()


def test_jenkins(checkout: Path) -> None:
    """Builds add up in the database, and nothing of an earlier one is taken for a result."""
    run(checkout, JENKINS, MAD_TAGS="demo_signing")
    done = run(checkout, JENKINS, MAD_TAGS="no_such_tag")
    assert done.returncode == 4
    assert not (checkout / "junit.xml").exists()
    run(checkout, JENKINS, MAD_TAGS="demo_signing")
    assert "2 sessions" in (checkout / "site/index.html").read_text()
    assert '"mad.metric' in (checkout / "junit.xml").read_text()
