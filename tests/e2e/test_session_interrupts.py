"""Done when 4: signals to the pytest process while an image builds and while models run.

Nothing is waited for by the clock: every wait polls a condition, and 15 seconds is the promise.
"""

from __future__ import annotations

import json
import os
import random
import signal
import socket
from pathlib import Path

import pytest
from session_support import Repository, Session, command_lines, wait_until

pytestmark = pytest.mark.e2e
pytest_plugins = ["session_fixtures"]

#: Seconds after which nothing of ours may be left.
PROMISE = 15.0
SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGKILL]
WORKERS = ["", "-n2"]


@pytest.fixture
def naptime() -> str:
    """A number of seconds that makes a ``sleep`` unmistakable among the processes of this host."""
    return f"{random.randrange(3000, 9000)}.{random.randrange(10**8, 10**9)}"


def sleepers(naptime: str) -> list[str]:
    return [line for line in command_lines() if naptime in line]


def assert_all_gone(repository: Repository, session: Session, naptime: str) -> None:
    """Within the promised time: no container, no process of the workload, no build, no test process."""
    wait_until(
        lambda: not repository.containers() and not sleepers(naptime) and session.process.poll() is not None,
        "everything gone",
        PROMISE,
    )
    root = str(repository.root)
    wait_until(lambda: not [line for line in command_lines() if root in line], "no process left", PROMISE)


def assert_interrupted(repository: Repository, session: Session, number: signal.Signals) -> None:
    if number is signal.SIGKILL:
        assert session.code == -signal.SIGKILL
        return
    assert session.code == 2, session.output
    assert "Traceback" not in session.output
    repository.assert_nothing_left()


@pytest.mark.parametrize("workers", WORKERS, ids=["alone", "workers"])
@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
def test_during_a_run(repository: Repository, naptime: str, number: signal.Signals, workers: str) -> None:
    """The running models are FAILURE ``interrupted``; what was done before keeps its row."""
    hanging = ["hang_a", "hang_b"] if workers else ["hang_a"]
    repository.model("quick")
    for name in ("hang_a", "hang_b"):
        repository.model(name, f"echo performance: 2 sps; echo ready; sleep {naptime}")
    session = repository.start(*filter(None, [workers]))
    for name in hanging:
        repository.await_script(session, name)
    wait_until(lambda: repository.statuses().get("quick"), "row of the quick model", session=session)
    table = (repository.out / "perf.csv").read_bytes()
    session.signal(number)
    assert_all_gone(repository, session, naptime)
    assert_interrupted(repository, session, number)
    after = (repository.out / "perf.csv").read_bytes()
    assert after.startswith(table)
    assert repository.row("quick")["status"] == "SUCCESS"
    if number is signal.SIGKILL:
        assert after == table
        return
    for name in hanging:
        assert repository.row(name)["status"] == "FAILURE"
        assert repository.reason(name) == "interrupted"
    if not workers:
        assert repository.row("hang_b")["status"] == "SKIPPED"
        assert repository.reason("hang_b").startswith("not run: ")
    assert len(repository.rows()) == 3


@pytest.mark.parametrize("workers", WORKERS, ids=["alone", "workers"])
@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
def test_during_a_build(repository: Repository, naptime: str, number: signal.Signals, workers: str) -> None:
    """The build ends with its client; rows as above."""
    slow = repository.dockerfile(f"RUN sleep {naptime}", name="slow")
    repository.model("quick").model("built_a", dockerfile=slow)
    session = repository.start(*filter(None, [workers]))
    wait_until(
        lambda: f"sleep {naptime}" in "\n".join(sleepers(naptime)), "step of the build", session=session
    )
    wait_until(lambda: repository.statuses().get("quick"), "row of the quick model", session=session)
    # The build runs ahead: only an item that has begun is interrupted, another one is "not run".
    wait_until(lambda: "built_a" in begun(repository), "start of the built model", session=session)
    session.signal(number)
    assert_all_gone(repository, session, naptime)
    assert_interrupted(repository, session, number)
    expected = {"quick": "SUCCESS"}
    if number is not signal.SIGKILL:
        expected["built_a"] = "FAILURE"
        assert repository.reason("built_a") == "interrupted"
    assert repository.statuses() == expected


def begun(repository: Repository) -> set[str]:
    """Items that the journals have a start of."""
    lines = [
        json.loads(line)
        for path in repository.out.glob("results/*/journal.jsonl")
        for line in path.read_text().splitlines()
        if line.endswith("}")
    ]
    return {str(line["item"]) for line in lines if line["event"] == "start"}


#: Says when it is asked to end, and goes on.
OBSTINATE = "trap 'echo asked' TERM; echo ready; while true; do sleep {} & wait; done"


@pytest.mark.parametrize("workers", WORKERS, ids=["alone", "workers"])
def test_an_obstinate_script_is_killed(repository: Repository, naptime: str, workers: str) -> None:
    """A script that ignores TERM has ten seconds, no more."""
    repository.model("obstinate", OBSTINATE.format(naptime))
    session = repository.start(*filter(None, [workers]))
    repository.await_script(session, "obstinate")
    session.signal(signal.SIGTERM)
    assert_all_gone(repository, session, naptime)
    assert repository.reason("obstinate") == "interrupted"
    assert "asked" in repository.log("obstinate")


def test_an_impatient_user(repository: Repository, naptime: str) -> None:
    """Two interrupts in a row: the container is removed at once, the row is written all the same."""
    repository.model("quick").model("obstinate", OBSTINATE.format(naptime))
    session = repository.start()
    repository.await_script(session, "obstinate")
    session.signal(signal.SIGINT)
    repository.await_script(session, "obstinate", "asked")
    session.signal(signal.SIGINT)
    assert_all_gone(repository, session, naptime)
    assert repository.statuses() == {"quick": "SUCCESS", "obstinate": "FAILURE"}
    repository.assert_nothing_left()


def test_the_next_session_sweeps_up(repository: Repository, naptime: str) -> None:
    """Given a session that was killed outright / when another starts / then its workspace is gone, and so is
    a container whose owner is dead."""
    repository.model("hanging", f"echo ready; sleep {naptime}").model("fine", tags=["other"])
    killed = repository.start()
    repository.await_script(killed, "hanging")
    killed.signal(signal.SIGKILL)
    assert_all_gone(repository, killed, naptime)
    # As if the engine had been restarted without the lifeline: a container of the dead process.
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    labels = {
        "pytest-madengine.run-id": repository.run_ids()[0],
        "pytest-madengine.owner-pid": str(killed.process.pid),
        "pytest-madengine.owner-host": socket.gethostname(),
        "pytest-madengine.owner-boot-id": boot,
    }
    repository.client.containers.run("mad-test/tiny", ["sleep", naptime], labels=labels, detach=True)
    foreign = repository.client.containers.run("mad-test/tiny", ["sleep", naptime], detach=True)
    try:
        assert repository.run(tags="other").code == 0
        repository.assert_nothing_left()
        foreign.reload()
        assert foreign.status == "running"
    finally:
        foreign.remove(force=True)


def test_a_worker_that_is_killed(repository: Repository, naptime: str) -> None:
    """Given an xdist worker that dies / then its item is a FAILURE, the others are done, nothing is left."""
    repository.model("hanging", f"echo ready; sleep {naptime}")
    for number in range(3):
        repository.model(f"fine{number}")
    session = repository.start("-n2")
    container = repository.await_script(session, "hanging")
    os.kill(int(container["Labels"]["pytest-madengine.owner-pid"]), signal.SIGKILL)
    session.wait()
    assert_all_gone(repository, session, naptime)
    assert session.code == 1
    assert repository.statuses() == {
        "hanging": "FAILURE",
        **{f"fine{number}": "SUCCESS" for number in range(3)},
    }
    assert "worker" in repository.reason("hanging")
