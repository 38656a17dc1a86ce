"""Runs that do not come to their end: limits, signals, kills, lost owners."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from executor_plans import Bench
from pytest_madengine.engine.leftovers import find_leftovers, remove_leftovers
from pytest_madengine.engine.owner import Owner, current_owner
from pytest_madengine.plan.runplan import Step
from pytest_madengine.settings import PhaseTimeouts

pytestmark = pytest.mark.e2e

#: A workload that ignores the request to end, with a child that does the same.
STUBBORN = "trap '' TERM; (trap '' TERM; while :; do read -t 1 < /dev/zero; done) & echo started; wait\n"


@pytest.fixture
def bench(docker_client, tiny_image, tmp_path) -> Bench:
    return Bench(docker_client, tiny_image, tmp_path)


def eventually(condition: Callable[[], object], seconds: float = 20) -> None:
    """Waits for something that other processes do."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


def test_run_limit(bench):
    """Defects 48 and 49: given a long command with limit 1 s / when run / then stopped with all children,
    the container is removed before the result is known, the partial log is kept."""
    root = bench.root(
        run="echo 'performance: 1 x' ; echo partial > ../results.txt; sleep 1000 & sleep 1000\n",
        post="echo POST\n",
    )
    plan = bench.plan(
        root,
        timeouts=PhaseTimeouts(run=1),
        script={"post_steps": (Step("post.sh", "scripts/m/post.sh"),), "owner": (4242, 4343)},
    )
    result = bench.run(plan)  # asserts that the container is gone
    assert (result.timed_out, result.timeout, result.ended_in) == ("run", 1, "run")
    assert result.exit_code is None
    assert result.engine_error == ""
    assert result.findings.performance == (("1", "x"),)
    assert result.artifacts == ("results.txt",)
    assert (bench.artifacts / "results.txt").stat().st_uid == 4242
    assert "performance: 1 x" in bench.log(plan)
    assert "POST" not in bench.log(plan)
    assert 0.9 < result.durations["run"] < 9


def test_no_limit(bench):
    """Defect 22: given model timeout -1 / when run / then no limit."""
    root = bench.root(run="sleep 1.5; echo done\n")
    plan = bench.plan(
        root,
        timeouts=PhaseTimeouts(prepare=None, run=None, collect=0),
        script={"banner": ("Setting timeout to 0 seconds.",)},
    )
    assert bench.run(plan).exit_code == 0
    assert "Setting timeout to 0 seconds." in bench.log(plan)


@pytest.mark.slow
def test_a_workload_that_ignores_the_request_is_killed(bench):
    root = bench.root(run=STUBBORN)
    plan = bench.plan(root, timeouts=PhaseTimeouts(run=0.5), script={"owner": (4242, 4343)})
    result = bench.run(plan)
    assert (result.timed_out, result.exit_code) == ("run", None)
    assert "started" in bench.log(plan)


@pytest.mark.parametrize(("phase", "step"), [("prepare", "pre-script s.sh"), ("collect", "post-script s.sh")])
def test_limits_of_the_other_phases(bench, phase, step):
    root = bench.root(s="sleep 1000\n")
    steps = (Step("s.sh", "scripts/m/s.sh"),)
    field = "pre_steps" if phase == "prepare" else "post_steps"
    plan = bench.plan(root, timeouts=PhaseTimeouts(**{phase: 0.7}), script={field: steps})
    result = bench.run(plan)
    assert (result.timed_out, result.ended_in, result.failed_step) == (phase, phase, step)
    assert result.exit_code == (None if phase == "prepare" else 0)


def test_killed_from_outside(bench, docker_client):
    root = bench.root(run="echo started; sleep 1000\n")
    plan = bench.plan(root)
    kill = lambda name: name == "run" and docker_client.api.kill(plan.container_name)  # noqa: E731
    result = bench.run(plan, on_phase=kill)
    assert result.exit_code is None
    assert result.ended_in == "run"
    assert result.engine_error == f"container {plan.container_name} was killed from outside (exit status 137)"


def test_stopped_from_outside(bench, docker_client):
    """docker stop reaches the workload, and the run is handed back in order."""
    root = bench.root(
        run="trap 'echo workload saw TERM > ../results.txt; exit 1' TERM; sleep 1000 & echo ready; wait\n"
    )
    plan = bench.plan(root)
    stopped: list[bool] = []

    def stop(output: bytes) -> None:
        if b"ready" in output and not stopped:
            stopped.append(True)
            docker_client.api.kill(plan.container_name, signal="TERM")

    result = bench.run(plan, on_output=stop)
    assert result.engine_error == f"container {plan.container_name} was stopped from outside"
    assert (bench.artifacts / "results.txt").read_text() == "workload saw TERM\n"


def test_removed_from_outside(bench, docker_client):
    root = bench.root(run="sleep 1000\n")
    plan = bench.plan(root)
    remove = lambda name: (  # noqa: E731
        name == "run" and docker_client.api.remove_container(plan.container_name, force=True)
    )
    result = bench.run(plan, on_phase=remove)
    assert plan.container_name in result.engine_error


def test_out_of_memory_of_the_workload(bench):
    root = bench.root(run="echo eating; exec tail /dev/zero\n")
    plan = bench.plan(root, options={"memory": 48 * 1024 * 1024, "memory_swap": 48 * 1024 * 1024})
    result = bench.run(plan)
    assert result.out_of_memory
    assert result.exit_code == 137
    assert result.engine_error == ""


def test_a_workload_that_kills_everything(bench):
    root = bench.root(run="echo bye; kill -9 -1\n")
    plan = bench.plan(root, script={"owner": (4242, 4343)})
    result = bench.run(plan)
    assert (result.exit_code, result.ended_in) == (None, "run")
    assert "killed everything in it" in result.engine_error
    assert bench.log(plan).splitlines()[-1] == "bye"


def test_background_processes_do_not_hold_the_run(bench):
    root = bench.root(run="sleep 1000 & echo done\n")
    assert bench.run(bench.plan(root)).exit_code == 0


def test_private_init_of_the_engine(bench):
    """With --init the first process is the engine's; limits and results work the same."""
    root = bench.root(run="sleep 1000\n")
    plan = bench.plan(root, options={"init": True}, timeouts=PhaseTimeouts(run=0.7))
    result = bench.run(plan)
    assert (result.timed_out, result.engine_error) == ("run", "")


def test_the_process_space_of_the_host_is_left_alone(bench):
    """With --pid=host nothing but the run's own processes is ended."""
    bystander = subprocess.Popen(["sleep", "1000"])
    try:
        root = bench.root(run="sleep 1000\n")
        plan = bench.plan(root, options={"pid": "host"}, timeouts=PhaseTimeouts(run=0.7))
        result = bench.run(plan)
        assert result.timed_out == "run"
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


OWNER_PROGRAM = """
import sys
from pathlib import Path
import docker
from executor_plans import Bench, make_plan
directory, image, name = sys.argv[1:4]
bench = Bench(docker.from_env(), image, Path(directory))
plan = bench.plan(bench.root(run="trap '' TERM; echo a > results.txt; echo performance: 5 x; sleep 1000\\n"),
                  container_name=name)
def show(output):
    if b"performance" in output:
        print("running", flush=True)
with bench.executor() as executor:
    executor.run(plan, bench.artifacts, on_output=show)
"""


@pytest.fixture
def owner(tiny_image, tmp_path):
    """A process of its own that runs a plan which does not end."""
    name = f"container_mad-test_owner_{os.getpid()}"
    process = subprocess.Popen(
        [sys.executable, "-c", OWNER_PROGRAM, str(tmp_path / "owner"), tiny_image, name],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "running\n"
    process.container_name = name  # type: ignore[attr-defined]
    yield process
    process.kill()
    process.communicate()


def present(client, name: str) -> bool:
    return bool(client.api.containers(all=True, filters={"name": [f"^/{name}$"]}))


def test_the_container_dies_with_its_owner(owner, docker_client):
    """Promise 3: SIGKILL of the owner leaves no container within seconds."""
    assert present(docker_client, owner.container_name)
    owner.kill()
    eventually(lambda: not present(docker_client, owner.container_name), 10)


def test_what_a_killed_owner_left_is_swept(owner, docker_client, bench, tmp_path):
    workspaces = tmp_path / "owner/workspaces"
    assert list(workspaces.glob("ws-*"))
    owner.kill()
    owner.communicate()
    eventually(lambda: not present(docker_client, owner.container_name), 10)
    assert list(workspaces.glob("ws-*"))
    bench.workspaces = workspaces
    with bench.executor():
        assert not list(workspaces.glob("*"))


def test_an_interrupt_stops_the_container_and_is_raised(owner, docker_client, tmp_path):
    owner.send_signal(signal.SIGINT)
    _, errors = owner.communicate(timeout=60)
    assert "KeyboardInterrupt" in errors
    assert not present(docker_client, owner.container_name)
    assert not (tmp_path / "owner/workspaces").exists()
    log = tmp_path / "owner/artifacts/m_m.ubuntu.run.live.log"
    assert "performance: 5 x" in log.read_text()
    assert (tmp_path / "owner/artifacts/results.txt").read_text() == "a\n"


@pytest.fixture
def labelled(docker_client, tiny_image):
    """Makes a running container with labels; removed afterwards."""
    made = []

    def make(labels: dict[str, str]):
        made.append(docker_client.containers.run(tiny_image, ["sleep", "300"], labels=labels, detach=True))
        return made[-1]

    yield make
    for container in made:
        docker_client.api.remove_container(container.id, force=True) if present_id(
            docker_client, container.id
        ) else None


def present_id(client, container_id: str) -> bool:
    return bool(client.api.containers(all=True, filters={"id": [container_id]}))


def test_leftovers_of_dead_owners_are_removed(docker_client, labelled):
    """Defect 40: given foreign containers / when leftovers are removed / then they keep running."""
    # A host name of this test's own: other sessions on this machine remove leftovers, too.
    mine = dataclasses.replace(current_owner(), host=f"mad-test-{os.getpid()}")
    dead = Owner(2**22 + 1, 1, mine.host, mine.boot_id)
    recycled = Owner(mine.pid, mine.start + 1, mine.host, mine.boot_id, mine.namespace)
    namesake = Owner(mine.pid, mine.start, mine.host, "another-boot", mine.namespace, "another-machine")
    other = Owner(2**22 + 1, 1, "another-host", mine.boot_id)
    hidden = Owner(2**22 + 1, 1, mine.host, mine.boot_id, "pid:[1]")
    gone = [labelled(owner.labels()) for owner in (dead, recycled)]
    kept = labelled({**dead.labels(), "pytest-madengine.kept": "true"})
    stay = [labelled(owner.labels()) for owner in (mine, other, hidden, namesake)]
    stay += [labelled({}), labelled({"pytest-madengine.owner-pid": "1"}), kept]
    found = find_leftovers(docker_client, mine)
    ours = {entry.id for entry in found} & {container.id for container in [*gone, *stay]}
    assert ours == {container.id for container in gone}
    wanted = [entry for entry in found if entry.id in ours]
    assert remove_leftovers(docker_client, wanted) == tuple(wanted)
    assert remove_leftovers(docker_client, wanted) == ()
    assert not [container for container in gone if present_id(docker_client, container.id)]
    assert all(present_id(docker_client, container.id) for container in stay)
    everything = find_leftovers(docker_client, mine, include_kept=True)
    assert [entry.kept for entry in everything if entry.id == kept.id] == [True]
