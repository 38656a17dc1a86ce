"""The commands of the documentation that need real containers (``<!-- run: layer=e2e -->``)."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from docs_pages import PROJECT, Block, missing_output, runnable

if TYPE_CHECKING:
    from docker import DockerClient

pytestmark = [pytest.mark.e2e, pytest.mark.parallel]


@pytest.mark.parametrize("block", runnable("e2e"), ids=lambda block: block.place)
def test_commands_do_what_the_page_says(block: Block, tmp_path: Path, docker_client: DockerClient) -> None:
    repository = tmp_path / "mad"
    shutil.copytree(
        PROJECT / "examples/mad",
        repository,
        ignore=shutil.ignore_patterns(
            "perf*", "mad-results", "__pycache__", ".pytest_cache", "*.xml", "*.html"
        ),
    )
    for name, text in block.files.items():
        if name != "conftest.py":
            (repository / name).write_text(text)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environ = {**os.environ, "PATH": path, "COLUMNS": "80", "PY_COLORS": "0"}
    environ = {name: value for name, value in environ.items() if not name.startswith("PYTEST_")}
    for command in block.commands:
        done = subprocess.run(
            ["bash", "-c", command.text],
            cwd=repository,
            env=environ,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        output = f"{done.stdout}\n{done.stderr}"
        assert done.returncode == (int(block.attributes["exit"]) if command.is_ours else 0), output
        assert not missing_output(command.output, output), output
