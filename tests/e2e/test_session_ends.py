"""Ends that need an engine: one that hangs, one that restarts, containers that were only created."""

from __future__ import annotations

import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from second_engine import Engine, second_engine
from session_support import Repository, Session, wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.parallel]
PROMISE = 30.0


@pytest.fixture(scope="module")
def engine(docker_client, tiny_image: str) -> Iterator[Engine]:
    with second_engine(tiny_image, docker_client) as made:
        yield made


@pytest.fixture
def repository(engine: Engine, tmp_path: Path) -> Iterator[Repository]:
    client = engine.client()
    made = Repository(client, tmp_path)
    yield made
    engine.signal(signal.SIGCONT)
    made.clean()
    client.close()


def start(repository: Repository, engine: Engine, *args: str, **options: Any) -> Session:
    return repository.start(*args, env={"DOCKER_HOST": engine.url}, **options)


def running(repository: Repository, session: Session, model: str) -> None:
    wait_until(
        lambda: [
            path
            for path in repository.out.glob(f"results/*/{model}/*.run.live.log")
            if "ready" in path.read_text().splitlines()
        ],
        f"run of {model}",
        session=session,
    )


def building(repository: Repository, session: Session, model: str) -> None:
    wait_until(
        lambda: [
            path
            for path in repository.out.glob(f"results/*/{model}/*.build.live.log")
            if any(line.endswith("ready") for line in path.read_text().splitlines())
        ],
        f"build of {model}",
        session=session,
    )


def hanging(repository: Repository, **fields: Any) -> Repository:
    """A model that hangs in its run, and one that hangs in its build."""
    slow = repository.dockerfile('RUN echo re""ady; sleep 1000', name="slow")
    repository.model("hanging", "echo ready; sleep 1000", **fields)
    return repository.model("built", dockerfile=slow, **fields)


def test_an_interrupt_while_the_engine_hangs(repository: Repository, engine: Engine) -> None:
    """faults 2.5: given an engine that hangs during a run / when Ctrl-C comes / then the session ends in time
    with its rows; when the engine wakes up, the container ends by itself."""
    repository.model("hanging", "echo ready; sleep 1000").model("next")
    session = start(repository, engine)
    running(repository, session, "hanging")
    engine.signal(signal.SIGSTOP)
    session.signal(signal.SIGINT).wait(PROMISE)
    engine.signal(signal.SIGCONT)
    assert session.code == 2, session.output
    assert repository.statuses() == {"hanging": "FAILURE", "next": "SKIPPED"}
    assert repository.reason("hanging") == "interrupted"
    assert "Traceback" not in session.output
    wait_until(lambda: not repository.containers(), "the container ends with its lifeline")
    repository.assert_nothing_left()


def test_an_interrupt_of_workers_while_the_engine_hangs(repository: Repository, engine: Engine) -> None:
    """faults 2.5: given an engine that hangs while one worker runs and one builds / when Ctrl-C comes / then
    both hand back what they know in time; what they could not remove the next session sweeps."""
    hanging(repository).model("next")
    session = start(repository, engine, "-n2")
    running(repository, session, "hanging")
    building(repository, session, "built")
    engine.signal(signal.SIGSTOP)
    session.signal(signal.SIGINT).wait(PROMISE)
    engine.signal(signal.SIGCONT)
    assert session.code == 2, session.output
    assert repository.statuses() == {"hanging": "FAILURE", "built": "FAILURE", "next": "SKIPPED"}
    records = repository.records()
    assert {records[name]["reason"] for name in ("hanging", "built")} == {"interrupted"}
    # Only the worker knows its image: it was not ended by force.
    assert records["hanging"]["image"]["id"].startswith("sha256:")
    assert "Traceback" not in session.output
    wait_until(lambda: not repository.containers(), "the container ends with its lifeline")
    assert start(repository, engine, "-k", "next").wait().code == 0
    repository.assert_nothing_left()


def test_a_restart_of_the_engine(repository: Repository, engine: Engine) -> None:
    """faults 2.6: given an engine that is restarted during a run / when retries are allowed / then the
    session waits for the engine and runs the model again, and the next one."""
    once = "if mkdir /shared/once 2>/dev/null; then echo ready; sleep 1000; fi; echo performance: 5 sps"
    shared = repository.out / "shared"
    shared.mkdir()
    repository.model("struck", once, additional_docker_run_options=f"-v {shared}:/shared").model("next")
    session = start(repository, engine, "--mad-retries=2")
    running(repository, session, "struck")
    engine.stop()
    engine.start()
    session.wait()
    assert repository.statuses() == {"struck": "SUCCESS", "next": "SUCCESS"}, session.output
    first = repository.records()["struck"]["attempts"][0]
    assert first["outcome"] == "FAILURE"
    repository.assert_nothing_left()


def test_an_engine_that_hangs_for_good(repository: Repository, engine: Engine) -> None:
    """faults 2.5: given an engine that hangs during a run and a build / when the time of the model, or the
    silence of --mad-engine-silence, is over / then both items fail, as failures of the machine."""
    hanging(repository, timeout=3)
    session = start(repository, engine, "-n2", "--mad-engine-silence=5")
    running(repository, session, "hanging")
    building(repository, session, "built")
    engine.signal(signal.SIGSTOP)
    session.wait()
    engine.signal(signal.SIGCONT)
    assert session.code == 1, session.output
    for name, record in repository.records().items():
        assert record["outcome"] == "FAILURE", name
        assert record["infrastructure"] is True, name
        assert "the container engine" in record["reason"], name
        assert "does not answer" in record["reason"], name
    assert set(repository.statuses()) == {"hanging", "built"}
    wait_until(lambda: not repository.containers(), "the container ends with its lifeline")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name)
def test_an_end_while_a_container_is_made(
    repository: Repository, engine: Engine, number: signal.Signals
) -> None:
    """faults 2.1: given a container that was made, not started / when the end comes / then it is removed."""
    repository.model("first")
    conftest = repository.root / "conftest.py"
    conftest.write_text(
        "import os, signal\n"
        "from pytest_madengine.executors.docker.container import EngineContainer\n"
        "create = EngineContainer.attach\n"
        "def attach(self, **options):\n"
        f"    os.kill(os.getpid(), {int(number)})\n"
        "    return create(self, **options)\n"
        "EngineContainer.attach = attach\n"
    )
    session = start(repository, engine).wait()
    assert session.code == 2, session.output
    assert repository.reason("first") == "interrupted"
    repository.assert_nothing_left()


def test_an_end_during_a_pull(repository: Repository, engine: Engine) -> None:
    """faults 2.1: given a registry that takes connections and never answers, one worker that pulls and one
    that waits for it / when the end comes / then it is in time, with a row for every model."""
    repository.model("first").model("next")
    with socket.create_server(("127.0.0.1", 0)) as registry:
        name = f"localhost:{registry.getsockname()[1]}/{repository.token}:1"
        context = f"--mad-context={{'MAD_CONTAINER_IMAGE': '{name}'}}"
        session = start(repository, engine, context, "-n2", pull=True)
        registry.settimeout(60)
        connection, _ = registry.accept()
        with connection:
            session.signal(signal.SIGTERM).wait(PROMISE)
    assert session.code == 2, session.output
    statuses = repository.statuses()
    assert set(statuses) == {"first", "next"}
    assert "FAILURE" in statuses.values()
    assert set(statuses.values()) <= {"FAILURE", "SKIPPED"}
    assert "Traceback" not in session.output
    repository.assert_nothing_left()
