"""Done when 3 and 5 of parallel runs: SIGKILL of whoever takes part, and the session that resumes."""

from __future__ import annotations

import json
import re
import socket
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from parallel_support import GPUS, OWNER, UNTIL_GO, Host, kill, locks_of, owner
from session_support import RUN_LABEL, Repository, Session, wait_until

pytestmark = pytest.mark.e2e
pytest_plugins = ["session_fixtures"]

#: Reason of an item whose container somebody killed.
KILLED = r"container \S+ was killed from outside|container ended in the run phase without an exit status"
#: Two items of four GPUs that wait; behind them one that needs all eight.
HANGING = ("hang_a", "hang_b")
QUICK = ("quick_0", "quick_1", "quick_2")


def furnish(host: Host) -> None:
    repository = host.repository
    for name in QUICK:
        repository.model(name, n_gpus="1", timeout=4000)
    for name in HANGING:
        repository.model(name, UNTIL_GO, n_gpus="4", timeout=900)
    repository.model("everything", n_gpus="8", timeout=60)
    repository.model("after", n_gpus="8", tags=["other"])


def hanging(host: Host, *args: str) -> tuple[Session, list[Any]]:
    """A session in which the quick ones are done and the others wait; containers of these."""
    session = host.start("-n4", *args)
    containers = host.await_scripts(session, *HANGING)
    done = dict.fromkeys(QUICK, "SUCCESS")
    wait_until(lambda: host.repository.statuses() == done, "rows of the quick ones", session=session)
    assert len(host.held()) == GPUS
    return session, containers


def test_a_worker(repository: Repository) -> None:
    """Its item is a FAILURE, its GPUs are free: what needs all of them runs in the same session."""
    host = Host(repository)
    furnish(host)
    session, (first, _) = hanging(host)
    kill(owner(first))
    host.go()
    session.wait()
    assert session.code == 1, session.output
    expected = dict.fromkeys((*QUICK, "hang_b", "everything"), "SUCCESS")
    assert repository.statuses() == {**expected, "hang_a": "FAILURE"}
    assert "worker" in repository.reason("hang_a")
    records = host.records()
    assert len(records) == len(repository.rows()) == 6
    wait_until(lambda: not repository.containers(), "container gone")
    assert host.held() == []


def test_a_container(repository: Repository) -> None:
    """Its item is a failure of the machine; everything else is done."""
    host = Host(repository)
    furnish(host)
    session, (first, _) = hanging(host)
    repository.client.api.kill(first["Id"])
    wait_until(lambda: "hang_a" in repository.statuses(), "row", session=session)
    host.go()
    session.wait()
    assert session.code == 1, session.output
    expected = dict.fromkeys((*QUICK, "hang_b", "everything"), "SUCCESS")
    assert repository.statuses() == {**expected, "hang_a": "FAILURE"}
    record = repository.records()["hang_a"]
    assert re.search(KILLED, record["reason"])
    assert record["infrastructure"] is True
    assert len(host.records()) == len(repository.rows()) == 6
    repository.assert_nothing_left()
    assert host.held() == []


@pytest.mark.parametrize("who", ["controller", "both"])
def test_the_controller(repository: Repository, who: str) -> None:
    """Records of what was done stay whole, all GPUs are free once the processes are gone, and the next
    session has them all and removes a container whose owner could not."""
    host = Host(repository)
    furnish(host)
    session, containers = hanging(host)
    table = (repository.out / "perf.csv").read_bytes()
    if who == "both":
        # A container that cannot notice the end of its owner.
        repository.client.api.pause(containers[0]["Id"])
        kill(session.process.pid, *map(owner, containers))
    else:
        kill(session.process.pid)
    host.await_gone(session)
    assert len(locks_of(host.locks)) == GPUS
    assert host.held() == []
    (killed,) = repository.run_ids()
    assert (repository.out / "perf.csv").read_bytes() == table
    assert sorted(host.records_of(killed)) == sorted(QUICK)
    finished = [entry["record"] for entry in host.journal(killed) if entry["event"] == "finish"]
    assert {r["item_id"] for r in finished if r["outcome"] == "SUCCESS"} == set(QUICK)

    after = host.run(tags="other")
    assert after.code == 0, after.output
    assert repository.records()["after"]["lease"]["gpus"] == list(range(GPUS))
    repository.assert_nothing_left()
    assert repository.statuses() == dict.fromkeys((*QUICK, "after"), "SUCCESS")
    name = containers[0]["Names"][0].lstrip("/")
    if who == "both":
        assert_told(host, after, name, killed, session.process.pid)


def assert_told(host: Host, session: Session, name: str, killed: str, pid: int) -> None:
    """A session says which container it removed.

    Sessions of other tests of this host remove the same containers and may be faster; then it is tried again.
    """
    repository = host.repository
    for number in range(5):
        if f"mad: removed container {name} of session {killed}, whose owner died" in session.output:
            return
        name = f"{repository.token}_{number}"
        labels = {
            RUN_LABEL: killed,
            OWNER: str(pid),
            "pytest-madengine.owner-host": socket.gethostname(),
            "pytest-madengine.owner-boot-id": Path("/proc/sys/kernel/random/boot_id").read_text().strip(),
        }
        command = ["sleep", "600"]
        repository.client.containers.run("mad-test/tiny", command, labels=labels, name=name, detach=True)
        session = host.run(tags="other")
    pytest.fail(f"no session told of a container that it removed:\n{session.output}")


def test_resume_after_half(repository: Repository) -> None:
    """Given eight models and a SIGKILL when half of them were done / when a session resumes / then it runs
    the other half only, and its reports have all eight."""
    host = Host(repository)
    done, rest = ([f"{half}_{number}" for number in range(4)] for half in ("done", "rest"))
    count = "echo $MAD_MODEL_NAME >> /shared/ran.$MAD_MODEL_NAME\n"
    for name in done:
        repository.model(name, f"{count}echo performance: 5 sps", n_gpus="2", timeout=4000)
    for name in rest:
        repository.model(name, count + UNTIL_GO, n_gpus="2", timeout=900)
    session = host.start("-n4")
    host.await_scripts(session, *rest)
    expected = dict.fromkeys(done, "SUCCESS")
    wait_until(lambda: repository.statuses() == expected, "rows of one half", session=session)
    kill(session.process.pid)
    host.await_gone(session)
    wait_until(lambda: not repository.containers(), "no container")
    (killed,) = repository.run_ids()

    host.go()
    junit, page = repository.out / "junit.xml", repository.out / "report.html"
    resumed = host.run("-n4", "--mad-resume", f"--junitxml={junit}", f"--html={page}", "-rs")
    assert resumed.code == 0, resumed.output
    (current,) = set(repository.run_ids()) - {killed}
    records = host.records_of(current)
    assert sorted(records) == sorted(done + rest)
    for name, record in records.items():
        assert record["outcome"] == ("SKIPPED" if name in done else "SUCCESS")
        assert record["resumed_from"] == (killed if name in done else "")
    ran = {path.name.partition(".")[2]: path.read_text() for path in host.shared.glob("ran.*")}
    assert ran == {name: f"{name}\n" * (1 if name in done else 2) for name in done + rest}
    assert repository.statuses() == dict.fromkeys(done + rest, "SUCCESS")
    assert len(repository.rows()) == 8
    found = {case.get("name"): case for case in ElementTree.parse(junit).iter("testcase")}
    assert sorted(map(str, found)) == sorted(done + rest)
    for name in done + rest:
        skipped = found[name].find("skipped")
        assert (skipped is not None) == (name in done)
        if skipped is not None:
            assert skipped.get("message") == f"SUCCESS in session {killed} (--mad-resume)"
    text = page.read_text()
    assert all(f"::{name}" in text for name in done + rest)
    assert "8 models: 4 SUCCESS, 4 SKIPPED" in resumed.output
    repository.assert_nothing_left()
    assert host.held() == []


def test_lines_of_a_journal_are_objects(repository: Repository) -> None:
    """The formats that the tests above read: one JSON object per line, all of one session."""
    host = Host(repository)
    repository.model("m", n_gpus="1").model("n", n_gpus="1")
    assert host.run("-n2").code == 0
    (run_id,) = repository.run_ids()
    events = [(entry["event"], entry["nodeid"]) for entry in host.journal(run_id)]
    assert sorted(events) == sorted((e, f"models.json::{n}") for e in ("start", "finish") for n in ("m", "n"))
    for entry in host.journal(run_id):
        if entry["event"] == "finish":
            assert json.dumps(entry["record"]["lease"]["gpus"]) in {"[0]", "[1]"}
