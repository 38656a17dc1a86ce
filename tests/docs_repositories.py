"""The repository in which the commands of a page are run."""

from __future__ import annotations

import shutil
from typing import Any

from docs_pages import PROJECT, Block

#: Scripts of examples/mad that need what only their image has, or the limits of a container.
STAND_INS = {
    "scripts/demo_torch/run.sh": "echo performance: 1825.1 samples_per_second\n",
    "scripts/demo_matmul/run.sh": (
        'printf "model,performance,metric\\n128,5.13,GFLOPS\\n256,5.48,GFLOPS\\n512,5.52,GFLOPS\\n"'
        " > perf_demo_matmul.csv\n"
    ),
    "scripts/demo_broken/hangs.sh": "exit 143\n",
}


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
