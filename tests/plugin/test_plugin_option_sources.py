"""A wrong value is blamed on where it came from."""

from __future__ import annotations

from typing import Any

import pytest

SECONDS = "is not a whole number of seconds up to 1000000000, or -1 for none"


def blame(repo: Any, *words: str) -> str:
    """The line of the usage error."""
    result = repo.model("m").run(*words, "models.json")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    output = result.stdout.str() + result.stderr.str()
    assert "Traceback" not in output
    assert "INTERNALERROR" not in output
    assert not repo.records()
    return next(line for line in result.stderr.lines if line.startswith("ERROR: "))


def ini(repo: Any, line: str) -> str:
    """Adds a line to the ini file of the repository; returns the path of that file."""
    path = repo.path / "pytest.ini"
    text = path.read_text() if path.exists() else "[pytest]\n"
    path.write_text(f"{text.rstrip()}\n{line}\n")
    return str(path)


@pytest.mark.parametrize("spelling", ["--mad-timeout=soon", "--mad-gpu-busy=shrug", "--mad-retries=-1"])
def test_of_the_command_line(repo: Any, spelling: str) -> None:
    name, _, value = spelling.partition("=")
    assert blame(repo, spelling).startswith(f"ERROR: {name}: '{value}' is not ")


def test_of_another_spelling(repo: Any) -> None:
    """Given an option in the spelling of madengine, then that is named."""
    line = blame(repo, "--mad-generate-sys-env-details=perhaps")
    assert line == "ERROR: --mad-generate-sys-env-details: 'perhaps' is not true or false"


@pytest.mark.parametrize(
    ("variable", "value", "expected"),
    [
        ("MAD_PYTEST_TIMEOUT", "soon", SECONDS),
        ("MAD_PYTEST_LIVE", "perhaps", "is not true or false"),
        ("MAD_PYTEST_PLAN", "perhaps", "is not true or false"),
        ("MAD_PYTEST_SYS_ENV_DETAILS", "7", "is not true or false"),
        ("MAD_PYTEST_GPU_BUSY", "shrug", "is not one of warn, wait, fail"),
        ("MAD_PYTEST_HEARTBEAT", "often", "is not a number of seconds up to 1000000000, or -1 for none"),
    ],
)
def test_of_the_environment(
    repo: Any, variable: str, value: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    assert blame(repo) == f"ERROR: environment variable {variable}: '{value}' {expected}"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("mad_timeout", "soon"),
        ("mad_gpu_busy", "shrug"),
        ("mad_retries", "-1"),
        ("mad_live", "perhaps"),
        ("mad_list_tags", "perhaps"),
        ("mad", "perhaps"),
        ("mad_junit_properties", "perhaps"),
    ],
)
def test_of_an_ini_file(repo: Any, key: str, value: str) -> None:
    """Given a wrong value in an ini file, then its key, the file and the value are named; also of a switch,
    which pytest itself reads."""
    path = ini(repo, f"{key} = {value}")
    line = blame(repo)
    assert line.startswith(f"ERROR: {key} in {path}: ")
    assert f"'{value}'" in line


def test_of_an_override(repo: Any) -> None:
    ini(repo, "mad_timeout = 5")
    assert blame(repo, "-o", "mad_timeout=soon") == f"ERROR: -o mad_timeout: 'soon' {SECONDS}"


def test_of_the_words_that_an_ini_file_adds(repo: Any) -> None:
    path = ini(repo, "addopts = --mad-timeout=soon")
    assert blame(repo) == f"ERROR: --mad-timeout in addopts in {path}: 'soon' {SECONDS}"


def test_of_the_words_that_the_environment_adds(repo: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTEST_ADDOPTS", "--mad-timeout soon")
    line = blame(repo)
    assert line == f"ERROR: --mad-timeout in environment variable PYTEST_ADDOPTS: 'soon' {SECONDS}"


def test_the_source_that_counts_is_blamed(repo: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given a right value on the command line and wrong ones below it, then nothing is wrong."""
    ini(repo, "mad_retries = never")
    monkeypatch.setenv("MAD_PYTEST_RETRIES", "-1")
    assert repo.model("m").run("--mad-retries=0", "models.json").ret == 0
