"""Pushes and pulls with a recording docker client: login, retries, what an error means (contract 9.1)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from docker.errors import ImageNotFound, NotFound
from pytest_madengine.errors import CredentialError, EngineError, ImageError, MadError, PullError
from pytest_madengine.images.registry import RegistryCredential, find_credential
from pytest_madengine.images.transfer import Place, Transfers, is_transient
from pytest_madengine.secrets import Redactor, Secret
from requests.exceptions import ReadTimeout

PASSWORD = "pass-word-77"
DIGEST = "sha256:" + "d" * 64
REFERENCE = "r.io:5000/ci-a"
#: Answers from numbered files: the first line is the status, the others the output.
CLI = """#!/bin/bash
[ "$1" = --version ] && { echo "Docker version 20.10.24, build x"; exit 0; }
[ "$1" = buildx ] && exit 1
printf '%s\\n' "$*" >> "$FAKE/argv"
env > "$FAKE/env.$1"
[ -f "$DOCKER_CONFIG/config.json" ] && cat "$DOCKER_CONFIG/config.json" > "$FAKE/config"
[ "$1" = login ] && cat > "$FAKE/stdin"
n=$(cat "$FAKE/$1.count" 2>/dev/null || echo 0); echo $((n + 1)) > "$FAKE/$1.count"
answer="$FAKE/$1.$n"; [ -f "$answer" ] || answer="$FAKE/$1.last"
[ -f "$answer" ] || exit 0
tail -n +2 "$answer"; [ "$(head -1 "$answer")" = sleep ] && exec sleep 30
exit "$(head -1 "$answer")"
"""


class Images:
    """The images of an engine."""

    def __init__(self) -> None:
        self.known: dict[str, dict[str, Any]] = {"sha256:1": {"Id": "sha256:1", "RepoDigests": []}}

    def get(self, name: str) -> SimpleNamespace:
        if name not in self.known:
            raise ImageNotFound(name)
        return SimpleNamespace(attrs=self.known[name])

    def tag(self, image: str, name: str, tag: str | None) -> None:
        if image not in self.known:
            raise NotFound(image)
        self.known[name if tag is None else f"{name}:{tag}"] = self.known[image]


class World:
    """A docker client that records, and an engine that remembers."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory / "fake"
        self.directory.mkdir()
        cli = directory / "bin/docker"
        cli.parent.mkdir()
        # The variables of the client are chosen by the product: the place is written into the script.
        cli.write_text(CLI.replace("$FAKE", str(self.directory)))
        cli.chmod(0o755)
        self.images = Images()
        self.slept: list[float] = []
        self.environ = {
            "PATH": f"{cli.parent}:/usr/bin:/bin",
            "HOME": str(directory),
            "DOCKER_HOST": "unix:///x.sock",
            "MAD_SECRETS_Z": "never-to-the-client",
        }
        self.redactor = Redactor()
        self.state = directory / "state"
        self.log = directory / "log.txt"
        #: What a ping of the engine raises.
        self.trouble: Exception | None = None
        client: Any = SimpleNamespace(images=self.images, api=self.images, ping=self.ping)
        self.transfers = Transfers(
            lambda: client, self.environ, self.redactor, self.state, delays=(1, 4), sleep=self.slept.append
        )

    def ping(self) -> bool:
        if self.trouble is not None:
            raise self.trouble
        return True

    def answer(self, verb: str, number: int | str, code: int | str, *lines: str) -> None:
        (self.directory / f"{verb}.{number}").write_text("\n".join([str(code), *lines, ""]))

    def argv(self) -> list[str]:
        return (self.directory / "argv").read_text().splitlines()

    def env(self, verb: str) -> Mapping[str, str]:
        lines = (self.directory / f"env.{verb}").read_text().splitlines()
        return dict(line.split("=", 1) for line in lines if "=" in line)

    def push(
        self, credential: RegistryCredential | None = None, registry: str = "r.io:5000", **kw: Any
    ) -> str:
        kw = {"timeout": None, "log_path": self.log, **kw}
        return self.transfers.push("sha256:1", REFERENCE, Place(registry, credential), **kw)

    def pull(self, credential: RegistryCredential | None = None) -> None:
        place = Place("r.io:5000", credential)
        self.transfers.pull(f"r.io:5000/ci-a@{DIGEST}", "ci-a", place, timeout=None, log_path=self.log)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.fixture
def credential() -> RegistryCredential:
    return RegistryCredential("r.io:5000", "ci", Secret(PASSWORD))


def test_push_returns_the_digest(world: World) -> None:
    world.answer("push", "last", 0, "abc: Pushed", f"latest: digest: {DIGEST} size: 528")
    assert world.push() == DIGEST
    assert world.argv() == [f"push {REFERENCE}"]
    assert REFERENCE in world.images.known
    assert "Pushed" in world.log.read_text()
    assert "MAD_SECRETS_Z" not in world.env("push")


def test_push_of_a_client_that_keeps_the_digest_to_itself(world: World) -> None:
    world.images.known["sha256:1"]["RepoDigests"] = [f"r.io:5000/ci-a@{DIGEST}"]
    assert world.push() == DIGEST
    world.images.known["sha256:1"]["RepoDigests"] = []
    with pytest.raises(PullError, match="its digest in the registry is not known"):
        world.push()


def test_push_of_an_image_that_is_gone(world: World) -> None:
    world.images.known.clear()
    with pytest.raises(PullError, match="no local image sha256:1"):
        world.push()


@pytest.mark.parametrize("verb", ["push", "pull"])
def test_an_engine_that_hangs_is_asked_first(world: World, verb: str) -> None:
    """faults 2.5: given an engine that hangs / when an image is to be transferred / then the client, which
    would wait for ever, is not started, and it is a failure of the machine."""
    world.trouble = ReadTimeout("it hangs: no answer to a ping in 60 s")
    with pytest.raises(
        EngineError, match=rf"^cannot {verb} an image: the container engine does not answer: it hangs"
    ) as caught:
        getattr(world, verb)()
    assert caught.value.infrastructure
    assert not (world.directory / "argv").exists()


def test_pull_tags_the_image(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """Contract 9.1, texts of a pull."""
    reference = f"r.io:5000/ci-a@{DIGEST}"
    world.images.known[reference] = {"Id": "sha256:1"}
    with caplog.at_level("INFO", "pytest_madengine.registry"):
        world.pull()
    assert world.images.known["ci-a"]["Id"] == "sha256:1"
    assert caplog.messages == [
        f"Pulling image from registry: {reference}",
        "Successfully pulled and tagged as: ci-a",
    ]


@pytest.mark.parametrize("reference", ["--all-tags", "a; touch x", "$(id)", "", "../x", "A/B"])
def test_defect_26_references_are_checked(world: World, reference: str) -> None:
    """Defect 26: given a manifest with an image like an option or a command / when pulled / then refused."""
    with pytest.raises(ImageError, match="not a valid image reference"):
        world.transfers.pull(reference, "ci-a", Place(""), timeout=None, log_path=world.log)
    assert not (world.directory / "argv").exists()


def test_pull_that_brings_nothing(world: World) -> None:
    with pytest.raises(PullError, match="the engine has no such image"):
        world.pull()


def test_defect_29_password_only_on_stdin(world: World, credential: RegistryCredential) -> None:
    """Defect 29: given a registry password / when pushed / then it is only on stdin of the login, whose
    configuration is private and gone afterwards."""
    world.answer("push", "last", 0, f"digest: {DIGEST}")
    world.push(credential)
    assert (world.directory / "stdin").read_text() == PASSWORD
    assert world.argv() == ["login --username=ci --password-stdin r.io:5000", f"push {REFERENCE}"]
    configuration = world.env("login")["DOCKER_CONFIG"]
    assert configuration == world.env("push")["DOCKER_CONFIG"]
    assert Path(configuration).parent == world.state
    assert not Path(configuration).exists()
    # No key ring of the user gets the password.
    assert "credHelpers" in json.loads((world.directory / "config").read_text())
    assert world.env("push")["DOCKER_HOST"] == "unix:///x.sock"
    for path in world.directory.parent.rglob("*"):
        if path.is_file() and path.name != "stdin":
            assert PASSWORD not in path.read_text(errors="replace"), path
    assert world.redactor.text(PASSWORD) == "***"


def test_login_to_docker_hub_names_no_registry(world: World) -> None:
    """Contract 9.1: registry name omitted for Docker Hub."""
    environ = {"MAD_DOCKERHUB_USER": "u", "MAD_DOCKERHUB_PASSWORD": PASSWORD}
    world.answer("push", "last", 0, f"digest: {DIGEST}")
    world.push(find_credential("docker.io", {}, environ), "docker.io")
    assert world.argv()[0] == "login --username=u --password-stdin"


def test_defect_42_a_failing_login_shows_its_reason(world: World, credential: RegistryCredential) -> None:
    """Defect 42: given a failing login / when pushed / then the real error is shown, redacted."""
    text = f"Error response from daemon: login attempt failed with status: 401 Unauthorized {PASSWORD}"
    world.answer("login", "last", 1, text)
    with pytest.raises(CredentialError) as caught:
        world.push(credential)
    assert "docker login to r.io:5000 as ci failed" in caught.value.message
    assert "401 Unauthorized ***" in caught.value.message
    assert world.slept == []


def test_a_login_that_cannot_reach_the_registry_is_tried_again(
    world: World, credential: RegistryCredential
) -> None:
    world.answer("login", 0, 1, "Error: Get http://r.io:5000/v2/: dial tcp: connect: connection refused")
    world.answer("login", 1, 1)
    world.answer("push", "last", 0, f"digest: {DIGEST}")
    with pytest.raises(PullError, match="exit status 1"):
        world.push(credential)
    assert world.slept == [1]
    assert world.push(credential) == DIGEST


@pytest.mark.parametrize(
    "line",
    [
        "unauthorized: authentication required",
        "denied: requested access to the resource is denied",
        "no basic auth credentials",
    ],
)
@pytest.mark.parametrize("entry", [None, {"repository": "a/b"}])
def test_refused_without_a_credential(world: World, line: str, entry: dict[str, str] | None) -> None:
    """Contract 9.1: tried anonymously; the text about missing credentials is the error when refused."""
    world.answer("push", "last", 1, line)
    with pytest.raises(CredentialError) as caught:
        world.push(find_credential("r.io:5000", {"r.io:5000": entry} if entry else {}, {}))
    assert caught.value.message.startswith("No credentials found for registry: r.io:5000\nPlease add")
    assert line in caught.value.hint


def test_refused_with_a_credential(world: World, credential: RegistryCredential) -> None:
    world.answer("push", "last", 1, "denied: requested access to the resource is denied")
    with pytest.raises(CredentialError, match="denied: requested access") as caught:
        world.push(credential)
    assert "user ci may not do this" in caught.value.hint


def test_half_a_credential(world: World) -> None:
    """Contract 9.1: missing fields."""
    with pytest.raises(CredentialError, match="Invalid credentials format for registry"):
        world.push(RegistryCredential("r.io:5000", "ci"))


@pytest.mark.parametrize(
    "line",
    [
        "Get http://r.io:5000/v2/: dial tcp 1.2.3.4:5000: connect: connection refused",
        "write tcp 1.2.3.4: broken pipe",
        "unexpected EOF",
        "received unexpected HTTP status: 503 Service Unavailable",
        "toomanyrequests: slow down",
        "net/http: TLS handshake timeout",
    ],
)
def test_the_network_gets_further_attempts(world: World, line: str) -> None:
    """Retries with back-off, for failures of network and registry only."""
    world.answer("push", 0, 1, line)
    world.answer("push", 1, 1, line)
    world.answer("push", "last", 0, f"digest: {DIGEST}")
    assert world.push() == DIGEST
    assert world.slept == [1, 4]
    world.answer("push", "last", 1, line)
    with pytest.raises(PullError) as caught:
        world.push()
    assert world.slept == [1, 4, 1, 4]
    assert caught.value.infrastructure
    assert is_transient(caught.value)
    assert "again in 4 s" in world.log.read_text()


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("manifest unknown: manifest unknown", PullError),
        ("", PullError),
        ("Cannot connect to the Docker daemon at unix:///x.sock. Is the docker daemon running?", EngineError),
        ("no space left on device", EngineError),
    ],
)
def test_other_failures_are_told_at_once(world: World, line: str, kind: type[MadError]) -> None:
    world.answer("pull", "last", 1, *([line] if line else []))
    with pytest.raises(kind) as caught:
        world.pull()
    assert type(caught.value) is kind
    assert world.slept == []


def test_the_limit_ends_a_push_and_its_retries(world: World) -> None:
    """Contract 10.8."""
    world.answer("push", "last", "sleep", "connection refused")
    with pytest.raises(PullError, match=r"Program timed out. Requested timeout=0.2"):
        world.push(timeout=0.2)
    assert world.slept == []
    world.answer("push", "last", 1, "connection refused")
    with pytest.raises(PullError, match="connection refused"):
        world.push(timeout=0.9)
    assert world.slept == []


def test_tls_of_a_docker_context_reaches_the_client(world: World, credential: RegistryCredential) -> None:
    world.environ |= {"DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": "/certs"}
    world.answer("push", "last", 0, f"digest: {DIGEST}")
    world.push(credential)
    assert (world.env("push")["DOCKER_CERT_PATH"], world.env("push")["DOCKER_TLS_VERIFY"]) == ("/certs", "1")


def test_a_state_directory_that_cannot_be_made(world: World, tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file")
    with pytest.raises(EngineError, match="state"):
        world.push()


def test_a_login_that_hangs(
    world: World, credential: RegistryCredential, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pytest_madengine.images.transfer.LOGIN_TIMEOUT", 0.2)
    world.answer("login", "last", "sleep")
    with pytest.raises(PullError, match="did not end within"):
        world.push(credential)
