"""The machine is in trouble: no engine, no permission, no space. One clear line, nothing lost."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from session_support import Repository, Session, other_user, reachable

pytestmark = pytest.mark.e2e
pytest_plugins = ["session_fixtures"]


def assert_clear(session: Session, reason: str) -> None:
    """Every item failed with this reason, which the terminal shows without any traceback."""
    repository = session.repository
    assert session.code == 1, session.output
    assert "Traceback" not in session.output
    for name, record in repository.records().items():
        assert reason in record["reason"], name
        assert record["infrastructure"] is True
        assert repository.row(name)["status"] == "FAILURE"
    lines = session.output.splitlines()
    assert [line for line in lines if reason in line and "FAILURE in engine" in line]
    assert [line for line in lines if line.startswith("hint: ")]


@pytest.mark.parametrize("args", [[], ["-n2"], ["--mad-context", "{'MAD_CONTAINER_IMAGE': 'mad-test/tiny'}"]])
def test_no_engine(repository: Repository, args: list[str]) -> None:
    """Bad input: engine absent."""
    repository.model("a").model("b")
    session = repository.run(*args, env={"DOCKER_HOST": "unix:///nonexistent/docker.sock"})
    assert len(repository.rows()) == 2
    assert_clear(session, "no container engine at unix:///nonexistent/docker.sock")


def test_an_engine_that_refuses(repository: Repository) -> None:
    """Bad input: a socket nobody listens on."""
    import socket

    repository.model("a")
    place = repository.out / "s"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(os.path.relpath(place))
    session = repository.run(env={"DOCKER_HOST": f"unix://{place}"})
    assert_clear(session, "refuses connections")


def test_not_permitted(repository: Repository) -> None:
    """Bad input: engine not permitted for this user."""
    import socket

    prefix, python, env = other_user(65534)
    repository.model("a")
    place = repository.out / "s"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(place))
        server.listen()
        place.chmod(0)
        for path in (repository.directory, repository.out):
            os.chown(path, 65534, 65534)
        with reachable(repository.root):
            session = repository.run(
                prefix=prefix, python=python, env={**env, "DOCKER_HOST": f"unix://{place}"}
            )
    assert_clear(session, "permission denied at the container engine")


# ---- a full disk --------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(repository: Repository) -> Iterator[Path]:
    """A file system of 256 KiB."""
    place = repository.directory / "small"
    place.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "mad-test", place], capture_output=True, check=False
    )
    if done.returncode:
        pytest.skip("cannot mount a small file system here")
    yield place
    subprocess.run(["umount", place], check=True)


def test_disk_full_at_the_table(repository: Repository, small_disk: Path) -> None:
    """Bad input: disk full while writing perf.csv: a clear error, all other rows intact, records kept."""
    script = "(echo model,performance,metric; for row in $(seq 10); do echo r$row,1,x; done) >perf_huge.csv"
    # Ten rows with the longest cell there is.
    huge = {"multiple_results": "perf_huge.csv", "training_precision": "y" * 32_000}
    repository.model("before").model("huge", script, **huge).model("after")
    table = small_disk / "perf.csv"
    session = repository.run(f"--mad-output={table}")
    assert session.code == 1, session.output
    assert "Traceback" not in session.output
    lines = table.read_text().splitlines()
    assert [line.partition(",")[0] for line in lines] == ["model", "before", "after"]
    (error,) = [line for line in session.output.splitlines() if "row of huge cannot be written" in line]
    assert error.startswith("ERROR results: ")
    assert "No space left on device" in error
    assert {name: record["outcome"] for name, record in repository.records().items()} == dict.fromkeys(
        ("before", "huge", "after"), "SUCCESS"
    )
    repository.assert_nothing_left()


def test_disk_full_below_the_results(repository: Repository, small_disk: Path) -> None:
    """A run whose log does not fit fails with that reason; the next model runs."""
    repository.model("loud", "head -c 2000000 /dev/zero | tr '\\0' '\\n'; echo performance: 1 x; sleep 3600")
    repository.model("quiet")
    session = repository.run(f"--mad-results-dir={small_disk / 'results'}", "--mad-sys-env-details=no")
    assert session.code == 1
    assert "Traceback" not in session.output, session.output
    assert repository.row("loud")["status"] == "FAILURE"
    (line,) = [line for line in session.output.splitlines() if line.startswith("loud  ")]
    assert "No space left on device" in line
    left = repository.client.api.containers(all=True, filters={"label": ["pytest-madengine.model=loud"]})
    assert left == []
