"""The commands of the documentation, run with bash in place of containers (see tests/docs_pages.py)."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from docs_pages import Block, Command, missing_output, runnable
from docs_repositories import prepare

#: Commands for the reader that change nothing a test could see.
FOR_READERS = ("cd", ".", "make", "git", "docker", "pip", "source", "sudo")


def execute(repo: Any, command: Command, monkeypatch: pytest.MonkeyPatch) -> tuple[int, str]:
    """Exit status and output of a command; pytest is run in this process."""
    words = shlex.split(command.text)
    if words[0] in FOR_READERS:
        return 0, ""
    if not command.is_pytest:
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        environ = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
        done = subprocess.run(
            ["bash", "-c", command.text],
            cwd=repo.path,
            env={**environ, "PATH": path},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert command.is_ours or done.returncode == 0, done.stderr
        return done.returncode, f"{done.stdout}\n{done.stderr}"
    with monkeypatch.context() as patch:
        while "=" in words[0]:
            patch.setenv(*words.pop(0).split("=", 1))
        result = repo.pytester.runpytest_inprocess(*words[1:])
    return int(result.ret), f"{result.stdout.str()}\n{result.stderr.str()}"


@pytest.mark.parametrize("block", runnable("plugin"), ids=lambda block: block.place)
def test_commands_do_what_the_page_says(block: Block, repo: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    prepare(repo, block)
    for command in block.commands:
        status, output = execute(repo, command, monkeypatch)
        expected = int(block.attributes["exit"]) if command.is_ours else 0
        assert status == expected, f"{command.text}\n{output}"
        assert not missing_output(command.output, output), f"{command.text}\n{output}"


def test_there_are_commands_to_run() -> None:
    assert len(runnable("plugin")) > 10
    assert all(re.fullmatch(r"\d", block.attributes["exit"]) for block in runnable("plugin"))
