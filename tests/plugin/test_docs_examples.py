"""The commands of the documentation, run with bash in place of containers (see tests/docs_pages.py)."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from docs_pages import PROJECT, Block, Command, missing_output, runnable

#: Scripts of examples/mad that need what only their image has, or the limits of a container.
STAND_INS = {
    "scripts/demo_torch/run.sh": "echo performance: 1825.1 samples_per_second\n",
    "scripts/demo_matmul/run.sh": (
        'printf "model,performance,metric\\n128,5.13,GFLOPS\\n256,5.48,GFLOPS\\n512,5.52,GFLOPS\\n"'
        " > perf_demo_matmul.csv\n"
    ),
    "scripts/demo_broken/hangs.sh": "exit 143\n",
}
#: Commands for the reader that change nothing a test could see.
FOR_READERS = ("cd", ".", "make", "git", "docker", "pip", "source", "sudo")


def prepare(repo: Any, block: Block) -> None:
    """The files the block works on, with the executor of the plugin tests."""
    executor = (repo.path / "conftest.py").read_text()
    for name in ("docker", "scripts"):
        shutil.rmtree(repo.path / name)
    conftest = ""
    if block.attributes["repo"] == "examples":
        shutil.copytree(
            PROJECT / "examples/mad",
            repo.path,
            dirs_exist_ok=True,
            ignore=shutil.ignore_patterns(
                "perf*", "mad-results", "__pycache__", ".pytest_cache", "*.xml", "*.html"
            ),
        )
        for name, text in STAND_INS.items():
            (repo.path / name).write_text(text)
        conftest = (repo.path / "conftest.py").read_text()
    for name, text in block.files.items():
        path = repo.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    conftest = block.files.get("conftest.py", conftest)
    future = "from __future__ import annotations\n"
    (repo.path / "conftest.py").write_text(future + (executor + "\n" + conftest).replace(future, ""))
    if block.attributes["repo"] == "page":
        (repo.path / "docker").mkdir(exist_ok=True)
        (repo.path / "docker/any.Dockerfile").write_text("# CONTEXT {'guest_os': 'UBUNTU'}\nFROM scratch\n")


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
