"""Ends that need an engine: one that hangs, one that restarts, containers that were only created."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path

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


def start(repository: Repository, engine: Engine, *args: str) -> Session:
    return repository.start("--mad-use-image=mad-test/tiny:latest", *args, env={"DOCKER_HOST": engine.url})


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


@pytest.mark.parametrize("workers", ["", "-n2"], ids=["alone", "workers"])
def test_an_interrupt_while_the_engine_hangs(repository: Repository, engine: Engine, workers: str) -> None:
    """faults 2.5: given an engine that hangs during a run / when Ctrl-C comes / then the session ends in time
    with its rows; when the engine wakes up, the container ends by itself."""
    repository.model("hanging", "echo ready; sleep 1000").model("next")
    session = start(repository, engine, *filter(None, [workers]))
    running(repository, session, "hanging")
    engine.signal(signal.SIGSTOP)
    began = time.monotonic()
    session.signal(signal.SIGINT).wait(PROMISE + 15)
    assert time.monotonic() - began < PROMISE
    engine.signal(signal.SIGCONT)
    assert session.code == 2, session.output
    assert repository.row("hanging")["status"] == "FAILURE"
    assert repository.reason("hanging") == "interrupted"
    assert "Traceback" not in session.output
    assert len(repository.rows()) == 2
    wait_until(lambda: not repository.containers(), "the container ends with its lifeline")
    if not workers:
        # A worker that still waits for the engine is ended by xdist; the next session sweeps its workspace.
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


def test_a_hung_engine_and_the_limit_of_a_model(repository: Repository, engine: Engine) -> None:
    """faults 2.5: given an engine that hangs during a run / when the model's time is up / then the item
    fails, as a failure of the machine."""
    repository.model("hanging", "echo ready; sleep 1000", timeout=3)
    session = start(repository, engine)
    running(repository, session, "hanging")
    engine.signal(signal.SIGSTOP)
    session.wait(180)
    engine.signal(signal.SIGCONT)
    assert session.code == 1
    record = repository.records()["hanging"]
    assert record["outcome"] == "FAILURE"
    assert record["infrastructure"] is True
    assert "hangs" in record["reason"]
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
