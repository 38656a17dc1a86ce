"""``madengine lint``: options, spellings, exit statuses."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from lint_samples import CLEAN, SCRIPT
from pytest_madengine.cli.app import make_app
from typer.testing import CliRunner

APP = make_app("madengine")
EXAMPLES = Path(__file__).parents[3] / "examples" / "mad"
ENTRY = CLEAN["models.json"][0]


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A MAD root ``mad`` below the working directory: an error in ``bad``, a warning in ``odd``."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MODEL_DIR", raising=False)
    root = tmp_path / "mad"
    files: dict[str, Any] = {
        **CLEAN,
        "models.json": json.dumps(
            [
                {**ENTRY, "tags": ["good"]},
                {**ENTRY, "name": "bad", "timeout": -5},
                {**ENTRY, "name": "odd", "env": {}},
            ]
        ),
        "scripts/d/get_models_json.py": "def list_models():\n    raise ValueError('oops')\n",
        "scripts/d/run.sh": SCRIPT,
    }
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def call(*words: str, status: int = 0, **environment: str) -> str:
    """Everything a command prints that ends with this status."""
    result = CliRunner().invoke(APP, ["lint", *words], env=environment)
    assert result.exit_code == status, result.output + repr(result.exception)
    return result.output


@pytest.mark.parametrize(
    "words", [["mad"], ["--root", "mad"], ["--mad-root", "mad"], ["mad", "--root", "mad"]]
)
def test_ways_to_name_the_root(root: Path, words: list[str]) -> None:
    text = call(*words, status=1)
    assert "models.json:1:" in text
    assert "error MAD110 bad: field 'timeout'" in text
    assert text.endswith("1 error, 1 warning in 3 models and 4 files\n")


def test_the_root_of_the_environment_and_of_the_directory(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "MAD110" in call(status=1, MODEL_DIR=str(root))
    monkeypatch.chdir(root)
    assert "MAD110" in call(status=1)


@pytest.mark.parametrize(
    "tags", [["--tags", "good,odd"], ["-t", "good", "--tags", "odd"], ["-t", "good", "odd"]]
)
def test_tags(root: Path, tags: list[str]) -> None:
    text = call("mad", *tags)
    assert "1 warning in 2 models" in text
    assert call("mad", *tags, "--strict", status=1)


@pytest.mark.parametrize(
    "ignore", [["--ignore", "MAD110,unknown-field"], ["--ignore", "mad110", "--ignore", "MAD103"]]
)
def test_ignore(root: Path, ignore: list[str]) -> None:
    assert "no problems in 3 models" in call("mad", *ignore, "--strict")


def test_dynamic(root: Path) -> None:
    assert "scripts/d/get_models_json.py: not executed" in call("mad", status=1)
    text = call("mad", "--dynamic", status=1)
    assert "MAD703" in text
    assert "oops" in text


@pytest.mark.parametrize("option", ["--additional-context", "--context", "-c"])
def test_context(root: Path, option: str) -> None:
    assert "MAD208 m: no Dockerfile fits" in call("mad", option, '{"gpu_vendor": "NVIDIA"}', status=1)


@pytest.mark.parametrize("option", ["--additional-context-file", "--context-file", "-f"])
def test_context_file(root: Path, option: str) -> None:
    Path("context.json").write_text('{"gpu_vendor": "NVIDIA"}')
    assert "MAD208 m: no Dockerfile fits" in call("mad", option, "context.json", status=1)


def test_json(root: Path) -> None:
    report = json.loads(call("mad", "--format", "json", status=1))
    assert report["summary"] == {
        "errors": 1,
        "warnings": 1,
        "notes": 0,
        "models": 3,
        "files": 4,
        "not_executed": ["scripts/d/get_models_json.py"],
    }
    assert [one["rule"] for one in report["findings"]] == ["MAD110", "MAD103"]


@pytest.mark.parametrize("option", ["--output", "-o"])
def test_sarif_into_a_file(root: Path, option: str) -> None:
    """Addresses start at the working directory, which is the checkout in CI."""
    text = call("mad", "--format", "sarif", option, "out/lint.sarif", status=1)
    assert sorted(text.splitlines()) == [
        "1 error, 1 warning in 3 models and 4 files: out/lint.sarif",
        "WARNING: scripts/d/get_models_json.py: not executed, its models were not checked (--dynamic)",
    ]
    (run,) = json.loads(Path("out/lint.sarif").read_text())["runs"]
    uris = {one["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] for one in run["results"]}
    assert uris == {"mad/models.json"}


def test_text_into_a_file(root: Path) -> None:
    assert call("mad", "-o", "lint.txt", status=1).endswith("4 files: lint.txt\n")
    assert "MAD110" in Path("lint.txt").read_text()


@pytest.mark.parametrize(
    "words",
    [
        ["nowhere"],
        ["."],
        ["mad", "--root", "other"],
        ["mad", "--tags", "absent"],
        ["mad", "--tags", ","],
        ["mad", "--format", "xml"],
        ["mad", "--ignore", "MAD999"],
        ["mad", "--context", "[1]"],
        ["mad", "--context-file", "absent.json"],
        ["mad", "--output", "mad/models.json/x"],
        ["mad", "extra"],
        ["mad", "--nonsense"],
    ],
)
def test_wrong_arguments(root: Path, words: list[str]) -> None:
    assert call(*words, status=4)


def test_it_changes_nothing(root: Path, tmp_path: Path) -> None:
    """Nothing of a repository is written, not even a cache."""
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    call("mad", "--dynamic", status=1)
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == before


def test_examples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(EXAMPLES, tmp_path / "mad", ignore=shutil.ignore_patterns("__pycache__", "mad-results"))
    monkeypatch.chdir(tmp_path / "mad")
    assert call("--strict", "--dynamic").startswith("no problems in 10 models")


def test_help_names_examples() -> None:
    assert "madengine lint --format sarif" in call("--help", COLUMNS="120")
