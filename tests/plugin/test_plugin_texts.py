"""What others wrote never reaches a terminal, a report or a worker as more than text."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from typing import Any

import pytest
from pytest_madengine.util.text import is_safe

SECRET = "Hunter22-abc"


@pytest.fixture
def dirty(repo: Any) -> Any:
    """A model that prints everything a terminal could obey, beside one that is in order."""
    noise = r"\033]0;pwned\007\033[2J\033(B\017\302\233\342\200\256\377\001"
    repo.model("loud", rf"printf 'performance: 5 \033[1mtok/s\033(B\033[m\017\nerr {noise}\n'; exit 3")
    repo.model("well", r"printf 'performance: 6 x\033(B\n'")
    return repo


@pytest.mark.parametrize(
    "options", [("-v",), ("--mad-live", "-rA"), ("-n", "2")], ids=["plain", "live", "xdist"]
)
def test_no_escape_reaches_the_terminal_or_a_file(dirty: Any, options: tuple[str, ...]) -> None:
    """faults 1.14, 4.3: given escapes in metrics and output / when models run / then they are shown as text,
    and every file is readable."""
    result = dirty.run("--mad-tags", "demo", "--junitxml=j.xml", *options, subprocess=True)
    result.assert_outcomes(passed=1, failed=1)
    assert is_safe(result.stdout.str().replace("\r\n", "\n"))
    dirty.junit()
    assert {row["metric"] for row in dirty.rows()} == {"tok/s", "x"}
    assert all(is_safe(json.dumps(record, ensure_ascii=False)) for record in dirty.records())


#: Log messages as clients make them: arguments, mappings, exceptions, stacks, calls that cannot be formatted.
NOISY_TEST = """
import logging

def say(secret):
    for name in ("docker.auth", "urllib3.connectionpool", "botocore.endpoint", "paramiko.transport", "mine"):
        log = logging.getLogger(name)
        log.setLevel(logging.DEBUG)
        log.debug("plain " + secret)
        log.debug("header %s of %d", {"Authorization": [secret]}, 5)
        log.debug("named %(token)s", {"token": secret})
        log.debug("broken %d " + secret, secret)
        log.debug("stack", stack_info=True, extra={"place": "x"})
        try:
            raise ValueError("raised " + secret)
        except ValueError:
            log.exception("failed")

def test_noisy(caplog):
    import os
    say(os.environ["MAD_SECRETS_X"])
    assert any("header" in text and "***" in text for text in caplog.messages)
    assert False
"""


@pytest.mark.parametrize("workers", [(), ("-n", "1")], ids=["alone", "workers"])
def test_no_secret_is_in_a_debug_log(
    repo: Any, monkeypatch: pytest.MonkeyPatch, workers: tuple[str, ...]
) -> None:
    """faults 4.1: given clients that log requests with a secret / when pytest shows, keeps and reports their
    log / then all messages are there, without it; afterwards logging is as before."""
    monkeypatch.setenv("MAD_SECRETS_X", SECRET)
    repo.model("m")
    (repo.path / "test_noisy.py").write_text(NOISY_TEST)
    before = logging.getLogRecordFactory()
    options = ("--log-file=debug.log", "--log-file-level=DEBUG", "-ojunit_logging=all", "-olog_cli=true")
    words = ("--mad-tags", "demo", "test_noisy.py", "--junitxml=j.xml", "--log-cli-level=DEBUG", "--tb=line")
    result = repo.run(*words, *options, *workers)
    assert logging.getLogRecordFactory() is before
    result.assert_outcomes(passed=1, failed=1)
    shown = {
        "terminal": result.stdout.str() + result.stderr.str(),
        "junit": (repo.path / "j.xml").read_text(),
    }
    if not workers:  # they have no log file of their own
        shown["file"] = (repo.path / "debug.log").read_text()
    for place, text in shown.items():
        assert SECRET not in text, place
        if not workers or place == "junit":
            assert all(word in text for word in ("plain ***", "named ***", "broken", "raised ***")), place
            assert text.count("header") >= 5


def test_names_of_rows_control_no_terminal(repo: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """faults 4.3: given control characters and a secret in the names of rows, which pytest shows as subtests
    / when one fails / then they are shown as text."""
    monkeypatch.setenv("MAD_SECRETS_X", SECRET)
    rows = rf"model,performance,metric\na\001b\302\233\342\200\256,,x\n{SECRET},,y\n"
    repo.model("rows", f"printf '{rows}' > perf_x.csv", multiple_results="perf_x.csv")
    result = repo.run("--mad-tags", "demo", "-v", "-rA", "--junitxml=j.xml")
    shown = result.stdout.str()
    assert is_safe(shown.replace("\r\n", "\n"))
    assert SECRET not in shown
    assert "SUBFAILED" in shown
    repo.junit()


def test_a_dynamic_model_says_no_secret_and_controls_no_terminal(
    repo: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """faults 4.1, 4.3: given a get_models_json.py that fails with a secret and escapes / when it is selected
    / then the error is one text without them."""
    (repo.path / "credential.json").write_text(json.dumps({"X": {"password": SECRET}}))
    repo.model("m")
    (repo.path / "scripts/dyn").mkdir()
    lines = [
        "def list_models():",
        f"    print('\\x1b[2J{SECRET}')",
        f"    raise ValueError('\\x1b]0;x\\x07{SECRET.upper()}')",
    ]
    (repo.path / "scripts/dyn/get_models_json.py").write_text("\n".join(lines))
    result = repo.run("--mad-tags", "dyn/a")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    shown = result.stdout.str() + result.stderr.str()
    assert is_safe(shown)
    assert SECRET.lower() not in shown.lower()
    assert "ValueError" in shown


def test_words_stay_in_names_of_metrics(repo: Any) -> None:
    """faults 4.2: given a credential value that is a word / then the metric keeps its name."""
    (repo.path / "credential.json").write_text(json.dumps({"X": {"password": "token", "pin": "123456"}}))
    repo.model("m", "echo performance: 123456 tokens_per_second; echo the token is 123456; exit 1")
    repo.run("--mad-tags", "demo")
    (row,) = repo.rows()
    assert (row["performance"], row["metric"]) == ("123456", "tokens_per_second")
    assert "the *** is ***" in repo.records()[0]["log_tail"]


def test_discover_shows_no_secret(repo: Any) -> None:
    """faults 4.1: given a secret in models.json / when discover prints the entries / then it is masked."""
    (repo.path / "credential.json").write_text(json.dumps({"X": {"password": SECRET}}))
    repo.model("m", args=f"--key {SECRET}")
    done = subprocess.run(
        [sys.executable, "-m", "pytest_madengine", "discover", "--tags", "m"],
        cwd=repo.path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout)[0]["args"] == "--key ***"
