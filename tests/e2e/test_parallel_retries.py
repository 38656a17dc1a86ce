"""``--mad-retries`` on the real engine: failures of the machine are tried again, every try is on record."""

from __future__ import annotations

import re

import pytest
from parallel_support import Host
from session_support import Repository

pytestmark = pytest.mark.e2e
pytest_plugins = ["session_fixtures"]

#: An address at which nobody listens.
NOBODY = "127.0.0.1:1/nobody/image:latest"
#: Reason of an item whose container somebody killed.
KILLED = r"container \S+ was killed from outside|container ended in the run phase without an exit status"
#: The first try waits to be killed; the next one is well.
SECOND_TIME = """
if [ -e /shared/tried ]; then
  echo "performance: 5 sps"
  exit
fi
: > /shared/tried
echo ready
sleep 600
"""


@pytest.mark.parametrize("workers", ["", "-n2"], ids=["alone", "workers"])
def test_a_registry_that_does_not_answer(repository: Repository, workers: str) -> None:
    """Given base images in a registry at which nobody listens / then each item tries once and N times more,
    never holds a GPU meanwhile, and is a failure of the machine; a broken Dockerfile is tried once."""
    host = Host(repository)
    (repository.root / f"docker/{repository.token}gone.ubuntu.Dockerfile").write_text(
        f"# CONTEXT {{'guest_os': 'UBUNTU'}}\nFROM {NOBODY}\n"
    )
    broken = repository.dockerfile("RUN exit 3", name="broken")
    repository.model("gone", dockerfile=f"docker/{repository.token}gone", n_gpus="1")
    repository.model("broken", dockerfile=broken, n_gpus="1")
    session = host.run("--mad-retries=2", *filter(None, [workers]))
    assert session.code == 1
    gone, broken_record = (repository.records()[name] for name in ("gone", "broken"))
    assert [attempt["phase"] for attempt in gone["attempts"]] == [gone["phase"]] * 3
    assert {attempt["outcome"] for attempt in gone["attempts"]} == {"FAILURE"}
    assert all(attempt["reason"] for attempt in gone["attempts"])
    starts = [attempt["started"] for attempt in gone["attempts"]]
    assert starts == sorted(starts)
    assert gone["infrastructure"] is True
    assert gone["lease"]["gpus"] == []
    assert "127.0.0.1:1" in gone["reason"]
    assert len(broken_record["attempts"]) == 1
    assert broken_record["infrastructure"] is False
    assert repository.statuses() == {"gone": "FAILURE", "broken": "FAILURE"}
    repository.assert_nothing_left()


def test_a_container_that_is_killed(repository: Repository) -> None:
    """Given a container killed from outside / then the item runs again in another one, is a SUCCESS, has one
    row, and both tries are on record."""
    host = Host(repository)
    repository.model("unlucky", SECOND_TIME, n_gpus="4", timeout=900).model("fine", n_gpus="4")
    session = host.start("-n2", "--mad-retries=1")
    (container,) = host.await_scripts(session, "unlucky")
    repository.client.api.kill(container["Id"])
    session.wait()
    assert session.code == 0, session.output
    record = repository.records()["unlucky"]
    assert [attempt["outcome"] for attempt in record["attempts"]] == ["FAILURE", "SUCCESS"]
    assert re.search(KILLED, record["attempts"][0]["reason"])
    assert record["attempts"][0]["phase"] in {"engine", "run"}
    assert record["attempts"][0]["started"] <= record["attempts"][1]["started"]
    assert record["outcome"] == "SUCCESS"
    assert repository.statuses() == {"unlucky": "SUCCESS", "fine": "SUCCESS"}
    assert len(repository.rows()) == 2
    repository.assert_nothing_left()
    assert host.held() == []
