"""The guard beside a build: nothing outlives its owner."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from pytest_madengine.engine import guard
from pytest_madengine.engine.process import run_streaming

OWNER = """
import os, sys
from pathlib import Path
from pytest_madengine.engine.process import run_streaming
run_streaming(
    ["bash", "-c", "trap '' TERM; echo $$ > pid; exec 3<>fifo; read -u 3"],
    environ=os.environ, cwd=Path.cwd(), output=print,
)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_the_command_ends_when_its_owner_is_killed(tmp_path: Path, number: int) -> None:
    """Also a silent one that ignores SIGTERM."""
    os.mkfifo(tmp_path / "fifo")
    os.mkfifo(tmp_path / "pid")
    owner = subprocess.Popen([sys.executable, "-c", OWNER], cwd=tmp_path)
    pid = int((tmp_path / "pid").read_text())
    descriptor = os.pidfd_open(pid)
    os.kill(owner.pid, number)
    owner.wait()
    try:
        ready, _, _ = __import__("select").select([descriptor], [], [], 30)
        assert ready, "the command outlived its owner"
    finally:
        os.close(descriptor)


@pytest.mark.parametrize(("script", "code"), [("exit 0", 0), ("exit 7", 7), ("kill -9 $$", -9)])
def test_exit_status_of_the_command(tmp_path: Path, script: str, code: int) -> None:
    argv = ["bash", "-c", script]
    assert run_streaming(argv, environ=os.environ, cwd=tmp_path, output=lambda data: None).code == code


def test_a_missing_command_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no-such-command"):
        run_streaming(["no-such-command"], environ={"PATH": "/bin"}, cwd=tmp_path, output=lambda data: None)


def test_guard_runs_under_isolated_python() -> None:
    """It must not import the package: the interpreter starts without site-packages."""
    text = Path(guard.__file__).read_text()
    assert "pytest_madengine" not in text
