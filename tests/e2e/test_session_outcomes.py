"""Whole sessions: a success and every way to fail, each with exactly one row and nothing left behind."""

from __future__ import annotations

import json
import os
import re
import socket
import threading
import xml.etree.ElementTree as ElementTree

import pytest
from pytest_madengine.engine.endpoint import find_endpoint
from session_support import RUN_LABEL, Repository, Session, other_user, reachable, tree_hash

pytestmark = pytest.mark.e2e
pytest_plugins = ["session_fixtures"]


# ---- success ------------------------------------------------------------------------------------------


def test_success(repository: Repository) -> None:
    """A good model: row, record, logs, artifacts, labels; the repository is as it was."""
    repository.model(
        "good",
        "echo 'performance: 12.5 sps'\necho x > results_a.txt\nmkdir -p a_output\necho y > a_output/b",
        args="--a b",
        training_precision="fp16",
    )
    before = tree_hash(repository.root)
    session = repository.run(env={"BUILD_NUMBER": "77", "pipeline": "nightly"})
    assert session.code == 0, session.output
    assert tree_hash(repository.root) == before
    repository.assert_nothing_left()

    image = f"ci-good_{repository.base}"
    row = repository.row("good")
    assert float(row.pop("test_duration")) >= 0
    assert float(row.pop("build_duration")) > 0
    assert {name: value for name, value in row.items() if value} == {
        "model": "good",
        "n_gpus": "0",
        "nnodes": "1",
        "gpus_per_node": "0",
        "training_precision": "fp16",
        "pipeline": "nightly",
        "args": "--a b",
        "tags": "all_of_it",
        "docker_file": f"docker/{repository.base}.Dockerfile",
        "base_docker": "mad-test/tiny:latest",
        "docker_image": image,
        "machine_name": socket.gethostname(),
        "deployment_type": "local",
        "launcher": "docker",
        "performance": "12.5",
        "metric": "sps",
        "status": "SUCCESS",
        "build_number": "77",
    }
    artifacts = repository.artifacts("good")
    names = {path.name for path in artifacts.iterdir()}
    stem = f"good_{repository.base}"
    assert {f"{stem}.build.live.log", f"{stem}.run.live.log", f"{stem}.live.log"} <= names
    assert {"results_a.txt", "a_output", "good_env.csv", ".good_env", "record.json"} <= names
    assert (artifacts / "a_output/b").read_text() == "y\n"
    record = json.loads((artifacts / "record.json").read_text())
    assert record == repository.records()["good"]
    assert record["outcome"] == "SUCCESS"
    assert record["image"]["name"] == image
    assert (artifacts.parent / record["log_file"]).name == f"{stem}.run.live.log"
    assert "Setting timeout to 60 seconds." in repository.log("good")
    labels = repository.client.images.get(image).labels
    assert labels["pytest-madengine.model"] == "good"
    assert labels[RUN_LABEL] == repository.run_ids()[0]


def test_files_belong_to_the_user_who_ran_pytest(repository: Repository) -> None:
    """Defect 60: given a user other than root / when root in the container writes / then the files of a
    good and of a failing run belong to that user and can be removed."""
    address = find_endpoint(os.environ).socket
    if address is None:
        pytest.skip("needs an engine behind a unix socket")
    prefix, python, env = other_user(address.stat().st_gid)
    script = "mkdir -p results_d/deep; echo x > results_d/deep/f; chmod 700 results_d; echo performance: 1 x"
    repository.model("good", script).model("bad", f"{script}; exit 3")
    for path in (repository.directory, repository.out):
        os.chown(path, 65534, 65534)
    with reachable(repository.root):
        session = repository.run(prefix=prefix, python=python, env=env)
    assert repository.statuses() == {"good": "SUCCESS", "bad": "FAILURE"}, session.output
    foreign = [str(path) for path in repository.out.rglob("*") if path.lstat().st_uid != 65534]
    foreign = [path for path in foreign if "console" not in path]
    assert foreign == []
    assert (repository.artifacts("bad") / "results_d/deep/f").read_text() == "x\n"
    repository.assert_nothing_left()


# ---- failures -----------------------------------------------------------------------------------------

FAILURES = {
    "failing": ("script exited with 7", "the last words"),
    "slow": ("Program timed out. Requested timeout=3 (run phase)", "waiting"),
    "silent": ("no performance metric in the log", "all quiet"),
    "unbuildable": (
        "executor failed running|returned a non-zero code: 3|exit code: 3",
        "broken step",
    ),
    "greedy": ("killed by the kernel for memory", "eating"),
    "shot": ("was killed from outside", "ready"),
    "bashless": ("bash", ""),
}


@pytest.fixture(scope="module")
def failures(module_repository: Repository) -> Session:
    """One session with every failing model and two good ones around them."""
    repository = module_repository
    bashless = repository.dockerfile("RUN rm /bin/bash", name="nobash")
    unbuildable = repository.dockerfile("RUN echo broken step >&2 && exit 3", name="unbuildable")
    repository.model("first")
    repository.model("failing", "echo performance: 1.5 sps; echo the last words >&2; exit 7")
    repository.model("slow", "echo waiting; sleep 3600", timeout=3)
    repository.model("silent", "echo all quiet")
    repository.model("unbuildable", dockerfile=unbuildable)
    repository.model(
        "greedy",
        "echo eating; x=$(head -c 300000000 /dev/zero | tr '\\0' a); echo performance: ${#x} bytes",
        additional_docker_run_options="--memory 32m",
    )
    repository.model("shot", "echo ready; sleep 3600")
    repository.model("bashless", dockerfile=bashless)
    repository.model("last")
    session = repository.start("--junitxml", str(repository.out / "j.xml"))

    def shoot() -> None:
        shot = repository.await_script(session, "shot")
        repository.client.api.kill(shot["Id"])

    shooter = threading.Thread(target=shoot)
    shooter.start()
    session.wait()
    shooter.join()
    return session


@pytest.mark.parametrize("model", FAILURES)
def test_failure(failures: Session, model: str) -> None:
    """Done when 3: one FAILURE row with a reason, the tail of the log in terminal and JUnit."""
    repository = failures.repository
    reason, tail = FAILURES[model]
    assert repository.row(model)["status"] == "FAILURE"
    record = repository.records()[model]
    assert record["outcome"] == "FAILURE"
    assert re.search(reason, record["reason"]) or reason in record["reason"], record["reason"]
    assert "\n" not in record["reason"]
    root = ElementTree.parse(repository.out / "j.xml").getroot()
    (case,) = [case for case in root.iter("testcase") if case.get("name") == model]
    (failure,) = [child for child in case if child.tag in ("failure", "error")]
    section = failures.output.partition(f"_ {model} _")[2] or failures.output.partition(f"of {model} _")[2]
    shown = section.partition("\n___")[0].partition("\n===")[0].strip().splitlines()[1:]
    for text in (" ".join(record["reason"].split()), tail):
        assert text in "\n".join(shown)
        assert text in (failure.text or "")
    assert len(shown) <= 15
    if "run.live.log" in record["log_file"]:
        assert tail in repository.log(model)


def test_failures_end_well(failures: Session) -> None:
    """Exit status 1, the good models ran, no traceback, nothing left; the value of a failure is kept."""
    repository = failures.repository
    assert failures.code == 1, failures.output
    assert "Traceback" not in failures.output
    assert repository.statuses() == {
        "first": "SUCCESS",
        **dict.fromkeys(FAILURES, "FAILURE"),
        "last": "SUCCESS",
    }
    assert [row["model"] for row in repository.rows()] == ["first", *FAILURES, "last"]
    assert (repository.row("failing")["performance"], repository.row("failing")["metric"]) == ("1.5", "sps")
    assert repository.row("unbuildable")["docker_image"].startswith("ci-unbuildable_")
    repository.assert_nothing_left()


def test_the_image_of_a_failed_build_does_not_exist(failures: Session) -> None:
    intended = failures.repository.row("unbuildable")["docker_image"]
    assert not [name for name in failures.repository.images() if name.startswith(intended)]
