"""``--mad-resume`` runs again whatever would not be the same run (faults 1.7)."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest


def write(name: str, text: str) -> Callable[[Any], list[str]]:
    def change(repo: Any) -> list[str]:
        path = repo.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return []

    return change


def entry(**fields: Any) -> Callable[[Any], list[str]]:
    def change(repo: Any) -> list[str]:
        repo.entries[0].update(fields)
        repo.write()
        return []

    return change


def context(text: str) -> Callable[[Any], list[str]]:
    return lambda repo: [f"--mad-context={text}"]


def words(*given: str) -> Callable[[Any], list[str]]:
    return lambda repo: list(given)


CHANGES: dict[str, Callable[[Any], list[str]]] = {
    "a context variable": context("{'docker_env_vars': {'A': '1'}}"),
    "arguments of the context": context("{'model_args': '--new'}"),
    "a tool": context("{'tools': [{'name': 'own'}]}"),
    "env_vars of the entry": entry(env_vars={"B": "2"}),
    "args of the entry": entry(args="--steps 2"),
    "docker options of the entry": entry(additional_docker_run_options="--shm-size 1g"),
    "the timeout of the entry": entry(timeout=77),
    "a file that the Dockerfile copies": write("docker/copied.txt", "new"),
    "the common scripts": write("scripts/common/x.sh", "new"),
    "a configuration file": write("config.json", '{"a": 2}'),
    "the place of the data": write("data.json", json.dumps({"d": {"local": {"path": "/tmp"}}})),
    "the data": write("store/file", "longer than before"),
    "names of the credential": write(
        "credential.json", json.dumps({"K": {"username": "u", "token": "secret9"}})
    ),
    "the timeout": words("--mad-timeout=55"),
    "another image": words("--mad-use-image=other"),
    "the code of a conftest": lambda repo: write(
        "conftest.py", (repo.path / "conftest.py").read_text() + "#\n"
    )(repo),
}
SAME: dict[str, Callable[[Any], list[str]]] = {
    "nothing": words(),
    "how it is shown": words("--mad-live"),
    "a secret": write("credential.json", json.dumps({"K": {"username": "u", "password": "another9"}})),
    "another model's script": write("scripts/other/run.sh", "new"),
    "what a run leaves": write("perf.html", "new"),
    "another table, a site and other outputs": words(
        "--mad-output=other.csv", "--mad-report=site", "--mad-openmetrics=x.prom", "--junitxml=junit.xml"
    ),
    "and then the first table again": words(),
}


@pytest.fixture
def ran(repo: Any) -> Any:
    """A repository with one model, run with success."""
    write("credential.json", json.dumps({"K": {"username": "u", "password": "secret9"}}))(repo)
    write("store/file", "data")(repo)
    write("config.json", '{"a": 1}')(repo)
    write("data.json", json.dumps({"d": {"local": {"path": str(repo.path / "store")}}}))(repo)
    write("scripts/common/tools.json", json.dumps({"tools": {"own": {"cmd": "nice"}}}))(repo)
    write("scripts/common/pre_scripts/x.sh", "true\n")(repo)
    repo.model("m", data="d", cred="K", args="--config ../../config.json")
    assert repo.run("--mad-tags", "m").ret == 0
    return repo


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_runs_again(ran: Any, change: str) -> None:
    """faults 1.7: a SUCCESS / something that reaches the run changes / --mad-resume runs it again."""
    ran.run("--mad-tags", "m", "--mad-resume", *CHANGES[change](ran))
    assert not ran.records()[-1]["resumed_from"]


def test_what_does_not_reach_the_run_changes_nothing(ran: Any) -> None:
    """faults 1.7: a SUCCESS / something else changes / --mad-resume skips it, time and again."""
    for name, change in SAME.items():
        ran.run("--mad-tags", "m", "--mad-resume", *change(ran))
        assert ran.records()[-1]["resumed_from"], name


@pytest.mark.parametrize(
    "fields", [{"env_vars": {"B": "${REGION}"}}, {"additional_docker_run_options": "-e B=$REGION"}]
)
def test_a_variable_of_the_host_runs_again(
    repo: Any, monkeypatch: pytest.MonkeyPatch, fields: dict[str, Any]
) -> None:
    """faults 1.7, 5.6: a SUCCESS with the value of a host variable / it has another one / runs again."""
    monkeypatch.setenv("REGION", "eu")
    repo.model("m", **fields)
    repo.run("--mad-tags", "m")
    repo.run("--mad-tags", "m", "--mad-resume")
    assert repo.records()[-1]["resumed_from"]
    monkeypatch.setenv("REGION", "us")
    repo.run("--mad-tags", "m", "--mad-resume")
    assert not repo.records()[-1]["resumed_from"]


def key_of(repo: Any) -> str:
    """What counts of everything below the root."""
    from pytest_madengine.pipeline.resumekey import contents

    return json.dumps(sorted(contents(repo.path, frozenset())))


def test_our_own_outputs_in_a_build_context_are_no_content(ran: Any) -> None:
    """faults 1.7: tables, pages, side files, results directories of any name / content of a tree / the same;
    a table of somebody else counts."""
    repo = ran
    before = key_of(repo)
    for name in ("other.csv", "scripts/m/more.csv"):
        write(name, (repo.path / "perf.csv").read_text())(repo)
    for name in ("other.html", "perf_super.json", "r2/s1/journal.jsonl", "r2/s1/x", "scripts/m/more.html"):
        write(name, "x")(repo)
    assert key_of(repo) == before
    write("theirs.csv", "model,performance\n")(repo)
    assert key_of(repo) != before


def test_a_given_image_is_known_by_its_id(ran: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """faults 1.7: a SUCCESS in an image given by name / the name means another or none / runs again."""
    from pytest_madengine.images.builder import ImageBuilder

    given = ("--mad-tags", "m", "--mad-use-image=given:latest")
    zeros = "sha256:" + "0" * 64  # that of the conftest
    monkeypatch.setattr(ImageBuilder, "local_id", lambda self, name: zeros)
    assert ran.run(*given).ret == 0
    assert ran.records()[-1]["resume_key"].endswith(f":{zeros}")
    ran.run(*given, "--mad-resume")
    assert ran.records()[-1]["resumed_from"]
    for other in ("sha256:1", ""):
        monkeypatch.setattr(ImageBuilder, "local_id", lambda self, name, found=other: found)
        ran.run(*given, "--mad-resume")
        assert not ran.records()[-1]["resumed_from"]
