"""``madengine doctor``."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from pytest_madengine.cli.app import make_app
from pytest_madengine.cli.diagnosis import diagnose, registries
from pytest_madengine.cli.doctor import lines_of
from pytest_madengine.context.detect import detect_host
from pytest_madengine.context.probe import CommandOutput, Probe
from pytest_madengine.context.types import Gpu, HostFacts
from typer.testing import CliRunner

TOPICS = ["schema", "versions", "host", "gpus", "leases", "engine", "builder", "registries", "results"]
DEVICE = {
    *("index", "runtime_index", "bus_index", "identity", "uuid", "pci", "architecture", "product"),
    *("integrated", "visible", "used_by_default", "node", "node_access"),
}


@pytest.fixture
def bare(tmp_path: Path) -> dict[str, str]:
    """A host without engine and client."""
    return {
        "PATH": "/nowhere",
        "HOME": str(tmp_path),
        "DOCKER_HOST": f"unix://{tmp_path}/none.sock",
        "MAD_GPU_LOCK_DIR": str(tmp_path / "locks"),
    }


def host() -> HostFacts:
    of_kind: dict[str, Any] = {"architecture": "gfx942", "kind": "gfx942"}
    first, second = "0000:e3:00.0", "0000:05:00.0"
    gpus = (
        Gpu(0, first, 130, "00a4", pci=first, runtime_index=1, **of_kind),
        Gpu(2, second, 129, "00a3", pci=second, runtime_index=0, **of_kind),
    )
    return HostFacts(gpu_vendor="AMD", gpus=gpus)


def test_every_order_visibility_and_health(bare: dict[str, str], tmp_path: Path) -> None:
    found = diagnose({**bare, "HIP_VISIBLE_DEVICES": "0"}, tmp_path, host(), lambda path: "ok")
    assert list(found.facts) == TOPICS
    first, second = found.facts["gpus"]["devices"]
    assert set(first) == DEVICE
    assert (first["runtime_index"], first["bus_index"], first["visible"]) == (1, 1, False)
    assert (second["runtime_index"], second["bus_index"], second["visible"]) == (0, 0, True)
    text = "\n".join(lines_of(found.facts, found.problems))
    assert "GPU 2:" in text
    assert "hidden by the environment" in text


@pytest.mark.parametrize(
    ("environ", "access", "what"),
    [
        ({"HIP_VISIBLE_DEVICES": ""}, "ok", "leaves none of 2 GPUs"),
        ({}, "missing", "/dev/dri/renderD130 is missing"),
    ],
)
def test_what_stops_runs_is_an_error(
    bare: dict[str, str], tmp_path: Path, environ: dict[str, str], access: str, what: str
) -> None:
    found = diagnose({**bare, **environ}, tmp_path, host(), lambda path: access)
    assert any(what in entry["what"] and entry["level"] == "error" for entry in found.problems)
    assert all(entry["do"] for entry in found.problems)
    assert not found.healthy


def test_without_an_engine_the_report_is_complete(
    bare: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given no engine and no repository / then all topics are there, and the exit status is 1."""
    for name, value in bare.items():
        monkeypatch.setenv(name, value)
    result = CliRunner().invoke(make_app("madengine", ["doctor"]), ["doctor", "--json"])
    assert result.exit_code == 1
    value: dict[str, Any] = json.loads(result.output)
    assert list(value) == [*TOPICS, "problems", "healthy"]
    assert value["engine"]["answers"] is False
    assert any("none.sock" in entry["what"] for entry in value["problems"])


def test_a_place_that_cannot_be_written(bare: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    found = diagnose(bare, tmp_path / "file/results", HostFacts())
    assert found.facts["results"]["writable"] is False
    assert not found.healthy


@pytest.mark.parametrize("content", ["", "[", "[]", '{"auths": 3}', '{"auths": null, "credHelpers": []}'])
def test_strange_client_configurations(tmp_path: Path, content: str) -> None:
    (tmp_path / "config.json").write_text(content)
    assert registries({"DOCKER_CONFIG": str(tmp_path)}) == []


def test_registries_by_name_only(bare: dict[str, str], tmp_path: Path) -> None:
    """No secret is printed."""
    (tmp_path / ".docker").mkdir()
    config = {"auths": {"u:hunter2pw@r.example": {"auth": "c2VjcmV0"}}, "credHelpers": {"e.example": "x"}}
    (tmp_path / ".docker/config.json").write_text(json.dumps(config))
    found = diagnose(bare, tmp_path, HostFacts())
    assert found.facts["registries"] == ["e.example", "r.example"]
    text = json.dumps([found.facts, found.problems])
    assert "hunter2pw" not in text
    assert "c2VjcmV0" not in text


def _recorded(name: str) -> HostFacts:
    place = Path(__file__).parents[2] / "data/hosts" / name
    answers = {
        " ".join(entry["argv"]): CommandOutput("\n".join(entry["stdout"]), "", entry["code"])
        for entry in json.loads((place / "commands.json").read_text())
    }

    def run(argv: Sequence[str], timeout: float, environ: Mapping[str, str]) -> CommandOutput:
        words = " ".join([Path(argv[0]).name, *argv[1:]])
        return answers.get(words, CommandOutput(code=127))

    return detect_host(Probe(place / "root", run, {"PATH": "/usr/bin"}), None)


@pytest.mark.parametrize(
    ("name", "devices", "said"),
    [
        ("orders", [(0, 2, 3, True), (1, 0, 2, True), (2, 3, 1, True), (3, 1, 0, True)], ""),
        ("apu", [(0, 0, 1, False), (1, 1, 0, True)], "different kinds"),
        ("lost", [(0, 0, 0, True), (2, 1, 1, False), (3, 2, 2, False)], "lost GPU: 0000:0b:00.0"),
        ("laptop", [], "no GPU was found"),
    ],
)
def test_recorded_hosts(
    bare: dict[str, str], tmp_path: Path, name: str, devices: list[Any], said: str
) -> None:
    """Index, position of the runtime, of the bus, and whether models run on it, of recorded hosts."""
    found = diagnose(bare, tmp_path, _recorded(name), lambda path: "ok")
    keys = ("index", "runtime_index", "bus_index", "used_by_default")
    shown = [tuple(gpu[key] for key in keys) for gpu in found.facts["gpus"]["devices"]]
    assert shown == devices
    assert said in "\n".join(entry["what"] for entry in found.problems)
