"""The closing line of ``make test`` tells the truth about all layers."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Final

import pytest

ROOT: Final = Path(__file__).resolve().parents[2]


@pytest.fixture
def run_tests(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    """scripts/run_tests.py, working in a directory of this test."""
    spec = importlib.util.spec_from_file_location("run_tests", ROOT / "scripts" / "run_tests.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "run_tests", module)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "ROOT", tmp_path)
    monkeypatch.setattr(module, "RESULTS", tmp_path)
    return module


def layer(root: Path, name: str, text: str) -> None:
    directory = root / name
    directory.mkdir()
    (directory / f"test_{name}.py").write_text(text)


def run(module: ModuleType, *layers: str) -> object:
    totals = module.Totals()
    for name in layers:
        module.run_pytest(name, [name], 1, [sys.executable], totals)
    return totals


def test_counts_all_layers(run_tests: ModuleType, tmp_path: Path) -> None:
    layer(
        tmp_path,
        "fast",
        "import pytest\ndef test_a(): pass\ndef test_b(): assert 0\n@pytest.mark.skip\ndef test_c(): pass\n",
    )
    layer(
        tmp_path,
        "slow",
        "import pytest\n@pytest.fixture\ndef f(): 1 / 0\ndef test_d(f): pass\ndef test_e(): pass\n",
    )
    totals = run(run_tests, "fast", "slow")
    assert (totals.failed, totals.passed, totals.skipped, totals.errors) == (1, 2, 1, 1)
    assert totals.problems == []
    assert totals.line(1.5).strip("= ") == "1 failed, 2 passed, 1 skipped, 1 errors in 1.50s"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "slow: pytest collected no tests"),
        ("import pytest\ndef test_a(): raise KeyboardInterrupt\n", "slow: pytest ended with status 2"),
        ("import os\ndef test_a(): os._exit(0)\n", "slow: pytest wrote no report"),
        (None, "slow: no tests in slow"),
    ],
    ids=["empty", "interrupted", "ended by a test", "no files"],
)
def test_what_is_no_counted_failure_is_an_error(
    run_tests: ModuleType, tmp_path: Path, text: str | None, problem: str
) -> None:
    layer(tmp_path, "fast", "def test_a(): pass\n")
    if text is not None:
        layer(tmp_path, "slow", text)
    totals = run(run_tests, "fast", "slow")
    assert totals.problems == [problem]
    assert "1 errors" in totals.line(0)


def test_a_file_that_cannot_be_imported_is_an_error(run_tests: ModuleType, tmp_path: Path) -> None:
    layer(tmp_path, "fast", "import nothing_of_that_name\n")
    totals = run(run_tests, "fast")
    assert (totals.errors, totals.passed) == (1, 0)


def test_nothing_at_all_is_said(run_tests: ModuleType) -> None:
    assert "no tests ran" in run_tests.Totals().line(0)


@pytest.mark.parametrize("name", ["prepare", "run-demo", "stop-engine"])
def test_shell_scripts_parse_and_are_executable(name: str) -> None:
    path = ROOT / "scripts" / name
    assert path.stat().st_mode & 0o111
    subprocess.run(["bash", "-n", path], check=True)


def test_prepare_refuses_what_it_does_not_know() -> None:
    result = subprocess.run(
        [ROOT / "scripts" / "prepare", "--wrong"], capture_output=True, text=True, check=False
    )
    assert result.returncode == 1
    assert "unknown argument '--wrong'" in result.stderr
