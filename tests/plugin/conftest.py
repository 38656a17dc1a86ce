"""Real pytest runs on small MAD repositories.

The executor is replaced at its border: scripts run with bash in a temporary directory instead of a
container, everything else (collection, fixtures, plans, verdicts, sinks) is the product.
"""

from __future__ import annotations

import csv
import json
import shutil
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest

# Not imported for use: pytester forgets what a run imported, and the compiled parts of this library cannot be
# imported a second time.
import sqlalchemy  # noqa: F401

#: conftest.py of every generated repository.
REPO_CONFTEST = '''
import dataclasses, os, re, subprocess, time
import pytest
from pathlib import Path
from pytest_madengine.plan.runplan import Image
from pytest_madengine.results.result import RunResult
from pytest_madengine.results.scanner import LogScanner


class BashExecutor:
    """Runs the script of a plan on the host; keeps the contract of executors.base.Executor."""

    def run(self, plan, artifacts, *, on_phase=lambda phase: None):
        artifacts.mkdir(parents=True, exist_ok=True)
        if plan.script.skip_run:
            return RunResult(None, "done", durations={"prepare": 0.0})
        scripts = Path(plan.workspace.root) / plan.script.script_dir
        line = plan.script.run_line
        env = {name: getattr(v.value, "reveal", lambda: v.value)() for name, v in plan.env.items()}
        start = time.monotonic()
        done = subprocess.run(
            ["bash", "-c", line], cwd=scripts, env={**os.environ, **env}, capture_output=True
        )
        output = done.stdout + done.stderr
        log = f"{plan.log_name}.run.live.log"
        (artifacts / log).write_bytes(output)
        scanner = LogScanner()
        scanner.feed(output)
        rows = None
        if plan.multiple_results and (scripts / plan.multiple_results).exists():
            rows = (scripts / plan.multiple_results).read_text()
        tail = tuple(output.decode("utf-8", "replace").splitlines()[-20:])
        return RunResult(
            done.returncode, "done", findings=scanner.findings(), log_file=log, log_tail=tail,
            durations={"prepare": 0.0, "run": time.monotonic() - start}, multiple_results=rows,
        )


@pytest.hookimpl(trylast=True)
def pytest_configure(config):
    from pytest_madengine.plugin.keys import session_key

    session = config.stash.get(session_key, None)
    if session is not None:
        session.__dict__["executor"] = BashExecutor()
        # Nothing may reach for a Docker engine.
        session.settings = dataclasses.replace(session.settings, build_jobs=0)


@pytest.fixture
def mad_image(request, mad_model):
    spec = request.node.spec
    if spec.error is not None:
        raise spec.error
    return Image(
        f"ci-{mad_model.name}_{spec.base}", id="sha256:" + "0" * 64, dockerfile="docker/x", base_docker="b"
    )
'''


class Repo:
    """A MAD repository in the directory of a pytester."""

    def __init__(self, pytester: pytest.Pytester) -> None:
        self.pytester = pytester
        self.path = pytester.path
        self.entries: list[dict[str, Any]] = []
        pytester.makeconftest(REPO_CONFTEST)
        pytester.makeini("[pytest]\n")
        (self.path / "docker").mkdir()
        (self.path / "scripts").mkdir()
        (self.path / "docker/any.Dockerfile").write_text("# CONTEXT {'guest_os': 'UBUNTU'}\nFROM scratch\n")

    def model(self, name: str, script: str = "echo performance: 1 sps", **fields: Any) -> Repo:
        """Adds a root model whose run.sh is ``script``; fluent."""
        directory = self.path / "scripts" / name.replace("/", "_")
        directory.mkdir(exist_ok=True)
        (directory / "run.sh").write_text(script + "\n")
        entry = {
            "name": name,
            "dockerfile": "docker/any",
            "scripts": f"scripts/{directory.name}/run.sh",
            "n_gpus": "0",
            "tags": ["demo"],
            **fields,
        }
        self.entries.append(entry)
        self.write()
        return self

    def write(self) -> None:
        """Writes models.json."""
        (self.path / "models.json").write_text(json.dumps(self.entries, indent=1))

    def run(self, *args: str, subprocess: bool = False) -> pytest.RunResult:
        """pytest on the repository."""
        fixed = ["-p", "no:cacheprovider"] if "--lf" not in args and "--cached" not in args else []
        args = tuple(arg for arg in args if arg != "--cached")
        runner = self.pytester.runpytest_subprocess if subprocess else self.pytester.runpytest_inprocess
        return runner(*fixed, *args)

    def rows(self, name: str = "perf.csv") -> list[dict[str, str]]:
        """Rows of a results table."""
        path = self.path / name
        if not path.exists():
            return []
        with path.open(newline="") as stream:
            return list(csv.DictReader(stream))

    def statuses(self) -> dict[str, str]:
        """model -> status of perf.csv."""
        return {row["model"]: row["status"] for row in self.rows()}

    def records(self) -> list[dict[str, Any]]:
        """Records of all sessions, oldest first."""
        found = []
        for path in sorted((self.path / "mad-results").glob("*/records.jsonl")):
            found += [json.loads(line) for line in path.read_text().splitlines()]
        return found

    def junit(self, name: str = "j.xml") -> ElementTree.Element:
        """Root of a JUnit file."""
        return ElementTree.parse(self.path / name).getroot()


@pytest.fixture
def repo(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Repo:
    """An empty MAD repository; add models with ``repo.model(...)``."""
    for name in ("MODEL_DIR", "BUILD_NUMBER", "pipeline", "MAD_LAUNCHER", "CI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MAD_GPU_LOCK_DIR", str(pytester.path / "gpu-locks"))
    assert shutil.which("bash")
    return Repo(pytester)


def properties(case: ElementTree.Element) -> dict[str, str]:
    """Properties of a JUnit test case."""
    return {item.get("name", ""): item.get("value", "") for item in case.iter("property")}


@pytest.fixture
def junit_properties() -> Any:
    """The function :func:`properties`."""
    return properties


def pytest_configure(config: pytest.Config) -> None:
    """Plugin tests start pytest runs of their own and must not inherit options of this one."""
    assert Path(__file__).parent.name == "plugin"
