"""Building: 42 models that share one Dockerfile in a ``--mad-build-only`` session, over one ``docker build``.

Both sides build without the cache, and the Dockerfile has a step of some seconds: what a session adds is
pytest itself, asking the engine, and 41 more names.
"""

from __future__ import annotations

import json
import secrets
import shutil
from pathlib import Path
from statistics import median
from typing import Any

from pytest_madengine.engine.cli import find_docker_cli

from benchmarks.common import (
    Bar,
    BenchmarkError,
    Options,
    Report,
    alternate,
    child_environ,
    measure,
    pytest_command,
)
from benchmarks.containers import find_image, remove_images
from benchmarks.repositories import mad_repository

MODELS = 42
#: Seconds of the slowest step; a real image takes minutes.
STEP = 10
#: Session over a single ``docker build``.
LIMIT = 1.2


def run(options: Options) -> Report:
    """The session and the single build in turn."""
    directory = options.directory / "builds"
    token = f"bench{secrets.token_hex(4)}"
    image = find_image(options.image)
    root = mad_repository(directory, MODELS, places=(token,), image=image)
    dockerfile = root / f"docker/{token}.ubuntu.Dockerfile"
    dockerfile.write_text(f"{dockerfile.read_text()}RUN sleep {STEP}; echo built > /built\n")
    environ = child_environ(options.directory / "pyc")
    cli = find_docker_cli(environ)
    environ |= {"DOCKER_BUILDKIT": "1" if cli.buildkit else "0"}
    session = pytest_command(
        "--mad-tags", "all", "--mad-build-only", "--mad-clean-docker-cache", "--mad-no-pull"
    )
    single = [
        *(cli.path, "build", "--no-cache", "--network=host", "--tag", f"{token}-single"),
        *("--file", str(dockerfile), str(dockerfile.parent)),
    ]
    console = options.directory / "builds.txt"

    def build_all() -> float:
        shutil.rmtree(root / "mad-results", ignore_errors=True)
        wall = measure(session, root, environ, console).wall
        _check(root, console.read_text())
        return wall

    try:
        mine, theirs = alternate(
            options.times(3), build_all, lambda: measure(single, root, environ, console).wall
        )
    finally:
        remove_images(token)
    shutil.rmtree(directory)
    ours, reference = median(mine), median(theirs)
    detail = f"one build, {MODELS} names; {ours - reference:.2f} s more than the build alone"
    name = f"build {MODELS} models of one Dockerfile"
    return Report([Bar(name, ours, reference, "s", ours / reference, "x", LIMIT, detail)])


def _check(root: Path, console: str) -> None:
    """Every model has an image, and all have the same.

    :raises BenchmarkError: that is not so.
    """
    manifest = json.loads((root / "build_manifest.json").read_text())
    # A build made twice differs in its layers' times.
    shas = {record["image"]["id"] for record in _records(root)}
    if len(manifest["built_images"]) != MODELS or len(shas) != 1:
        raise BenchmarkError(f"{len(manifest['built_images'])} images of {len(shas)} builds:\n{console}")


def _records(root: Path) -> list[dict[str, Any]]:
    return [
        json.loads(line)
        for path in root.glob("mad-results/*/records.jsonl")
        for line in path.read_text().splitlines()
    ]
