"""Builds happen once per session; results and failures are shared (contract 8.3), with a fake docker."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
from docker import DockerClient
from docker.errors import APIError, ImageNotFound, NotFound
from pytest_madengine.engine import cli
from pytest_madengine.errors import BuildError, EngineError, PullError
from pytest_madengine.images.builder import BuildRequest, ImageBuilder
from pytest_madengine.images.dockerfile import DockerfileMatch
from pytest_madengine.images.local import add_name, base_digest, full_name, given_image, repository
from pytest_madengine.images.memory import Built, Failed, recall, remember
from pytest_madengine.secrets import Redactor, Secret

ID = "sha256:" + "1" * 64
DIGEST = "sha256:" + "d" * 64

DOCKER = """#!/bin/sh
case "$1" in
  --version) echo "Docker version 20.10.24, build x"; exit 0;;
  buildx) exit 1;;
esac
echo "$@" >> "$HOME/calls"
[ "$1" = pull ] && { [ -e "$HOME/pullable" ] || { echo "manifest unknown" >&2; exit 1; }; exit 0; }
while [ "$#" -gt 0 ]; do
  case "$1" in
    --iidfile) iid="$2";;
    -f) file="$2";;
    --label) case "$2" in pytest-madengine.build=*) echo "${2#*=}" > "$HOME/proof";; esac;;
  esac
  shift
done
while read -r line; do
  case "$line" in "LABEL pytest-madengine.build="*) echo "${line#*=}" > "$HOME/proof";; esac
done < "$file"
. "$HOME/behaviour"
"""


class FakeClient:
    """The few calls of the engine that builds need; every image has the label of the last build."""

    def __init__(self, images: dict[str, dict[str, Any]], proof: Path) -> None:
        self.known = images
        self.proof = proof
        self.tags: list[tuple[str, str, str | None]] = []
        self.images = self
        self.api = self
        self.error: Exception | None = None

    def ping(self) -> bool:
        if self.error is not None:
            raise self.error
        return True

    def get(self, name: str) -> Any:
        if self.error is not None:
            raise self.error
        if name not in self.known:
            raise ImageNotFound("no such image")
        attributes = self.known[name]
        if self.proof.exists():
            labels = {"pytest-madengine.build": self.proof.read_text().strip()}
            attributes = {**attributes, "Config": {"Labels": labels, **attributes.get("Config", {})}}
        return type("Found", (), {"attrs": attributes})()

    def tag(self, image: str, name: str, tag: str | None) -> None:
        if self.error is not None:
            raise self.error
        if image not in self.known:
            raise NotFound("no such image")
        self.tags.append((image, name, tag))


class Bench:
    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "bin").mkdir()
        (root / "bin/docker").write_text(DOCKER)
        (root / "bin/docker").chmod(0o755)
        (root / "m.Dockerfile").write_text("FROM base:1\n")
        self.client = FakeClient({ID: {"Id": ID, "Config": {"Env": ["A=1=2", "B="]}}}, root / "proof")
        self.redactor = Redactor()
        self.environ = {
            "PATH": f"{root}/bin:/usr/bin:/bin",
            "HOME": str(root),
            "DOCKER_HOST": "unix:///nowhere.sock",
        }
        self.behave(f"echo building; printf {ID} > $iid")

    def behave(self, script: str) -> None:
        (self.root / "behaviour").write_text(script + "\n")

    def docker(self) -> DockerClient:
        return cast(DockerClient, self.client)

    def builder(self) -> ImageBuilder:
        return ImageBuilder(
            self.docker, self.environ, self.redactor, self.root / "state", self.root / "locks"
        )

    def request(self, **changes: Any) -> BuildRequest:
        base = BuildRequest(
            model_name="m",
            dockerfile=DockerfileMatch(self.root / "m.Dockerfile", "m.Dockerfile", "m", {"k": 1}),
            context_dir=self.root,
            names=("ci-m_m",),
            build_args={},
            tools_context=None,
            pull=False,
            no_cache=False,
            timeout=60,
            log_path=self.root / "logs/m.log",
            labels={},
            base_docker="base:1",
        )
        return replace(base, **changes)

    @property
    def calls(self) -> list[str]:
        path = self.root / "calls"
        return path.read_text().splitlines() if path.exists() else []


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    cli._find.cache_clear()
    original = cli._clients
    made = Bench(tmp_path)
    # The machine's own clients could be better than the fake one.
    monkeypatch.setattr(
        cli,
        "_clients",
        lambda name, environ, endpoint: (
            found for found in original(name, environ, endpoint) if str(tmp_path) in found.path
        ),
    )
    yield made
    cli._find.cache_clear()


def test_a_build_fills_the_image(bench: Bench) -> None:
    bench.client.known["base:1"] = {"Id": "x", "RepoDigests": [f"base@{DIGEST}"]}
    image = bench.builder().ensure(bench.request())
    assert (image.name, image.id, image.dockerfile) == ("ci-m_m", ID, "m.Dockerfile")
    assert (image.base_docker, image.docker_sha) == ("base:1", DIGEST)
    assert image.env == {"A": "1=2", "B": ""}
    assert image.context == {"k": 1}
    assert image.build_duration > 0
    log = Path(image.build_log).read_text()
    assert log.startswith("$ ")
    assert "building\n" in log


def test_equal_requests_build_once(bench: Bench) -> None:
    requests = [
        bench.request(names=(f"ci-m{n}",), model_name=f"m{n}", log_path=bench.root / f"logs/{n}.log")
        for n in range(4)
    ]
    with ThreadPoolExecutor(4) as pool:
        images = list(pool.map(lambda request: bench.builder().ensure(request), requests))
    assert len(bench.calls) == 1
    assert [image.name for image in images] == [f"ci-m{n}" for n in range(4)]
    assert len({image.build_duration for image in images}) == 1
    assert len(bench.client.tags) == 3
    assert all("building" in Path(image.build_log).read_text() for image in images)


def test_a_failure_is_shared(bench: Bench) -> None:
    """Defect 10: given a build error / when run / then every item of that build fails, built once."""
    bench.behave("echo last words; echo 'ERROR: failed to solve: odd' >&2; exit 1")
    with pytest.raises(BuildError, match="failed to solve: odd") as first:
        bench.builder().ensure(bench.request())
    with pytest.raises(BuildError) as second:
        bench.builder().ensure(bench.request(model_name="other", log_path=bench.root / "o.log"), retry=True)
    assert second.value.message == first.value.message
    assert second.value.log_tail == first.value.log_tail == ("last words", "ERROR: failed to solve: odd")
    assert "last words" in (bench.root / "o.log").read_text()
    assert len(bench.calls) == 1


def test_a_failure_of_the_machine_may_be_tried_again(bench: Bench) -> None:
    bench.behave("echo 'manifest unknown'; exit 1")
    with pytest.raises(PullError):
        bench.builder().ensure(bench.request())
    with pytest.raises(PullError):
        bench.builder().ensure(bench.request())
    assert len(bench.calls) == 1
    bench.behave(f"printf {ID} > $iid")
    assert bench.builder().ensure(bench.request(), retry=True).id == ID
    assert bench.builder().ensure(bench.request()).id == ID
    assert len(bench.calls) == 2


def test_secrets_reach_only_the_environment_of_the_client(bench: Bench) -> None:
    """Defects 9, 30: given a secret build argument / when built / then no file and no argument has it."""
    bench.behave('echo "got $MAD_SECRETS_X"; exit 1')
    request = bench.request(build_args={"MAD_SECRETS_X": Secret("planted-token")})
    with pytest.raises(BuildError):
        bench.builder().ensure(request)
    assert "got ***" in request.log_path.read_text()
    for path in bench.root.rglob("*"):
        if path.is_file():
            assert "planted-token" not in path.read_text()
    assert "--build-arg MAD_SECRETS_X " in bench.calls[0]


def test_a_limit(bench: Bench) -> None:
    bench.behave("echo started; exec sleep 1000")
    with pytest.raises(BuildError, match=r"^Program timed out\. Requested timeout=1$") as caught:
        bench.builder().ensure(bench.request(timeout=1))
    assert caught.value.log_tail == ("started",)
    with pytest.raises(BuildError, match="timed out"):
        bench.builder().ensure(bench.request(timeout=1))
    assert len(bench.calls) == 1


def test_an_interruption_is_not_remembered(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    from pytest_madengine.images import builder

    def interrupted(*args: object, **kwargs: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(builder, "run_streaming", interrupted)
        with pytest.raises(KeyboardInterrupt):
            bench.builder().ensure(bench.request())
    assert bench.builder().ensure(bench.request()).id == ID


def test_an_image_the_engine_does_not_have(bench: Bench) -> None:
    bench.behave("printf sha256:2222 > $iid")
    with pytest.raises(EngineError, match="succeeded, but the engine has no image sha256:2222"):
        bench.builder().ensure(bench.request())


def test_without_an_id_file_the_name_counts(bench: Bench) -> None:
    bench.behave("true")
    bench.client.known["ci-m_m"] = {"Id": ID}
    assert bench.builder().ensure(bench.request()).id == ID


def test_an_image_that_vanished_is_built_again(bench: Bench) -> None:
    bench.builder().ensure(bench.request())
    known = bench.client.known.pop(ID)
    bench.behave(f"printf {ID[:-1]}2 > $iid")
    bench.client.known[f"{ID[:-1]}2"] = {**known, "Id": f"{ID[:-1]}2"}
    assert bench.builder().ensure(bench.request()).id == f"{ID[:-1]}2"


def test_places_that_cannot_be_written(bench: Bench) -> None:
    (bench.root / "file").touch()
    with pytest.raises(EngineError, match=r"file/x\.log|file"):
        bench.builder().ensure(bench.request(log_path=bench.root / "file/x.log"))
    (bench.root / "locks2").touch()
    builder = ImageBuilder(bench.docker, {}, Redactor(), bench.root / "s", bench.root / "locks2")
    with pytest.raises(EngineError, match="locks2"):
        builder.ensure(bench.request())


# ---- which image it is --------------------------------------------------------------------------------


def test_another_image_is_built_again_and_then_refused(bench: Bench) -> None:
    """Faults 1.6: given an engine that gives the image of another Dockerfile / when built / then it is built
    again without cache, and refused when it is still another one."""
    bench.client.known[ID]["Config"]["Labels"] = {"pytest-madengine.build": "of another Dockerfile"}
    with pytest.raises(
        EngineError, match=r"^m\.Dockerfile \(m\): the engine gave an image that was not built "
    ):
        bench.builder().ensure(bench.request())
    first, second = bench.calls
    assert "--no-cache" not in first
    assert "--no-cache" in second
    with pytest.raises(EngineError):
        bench.builder().ensure(bench.request())
    assert bench.client.tags == []


def test_an_image_that_is_right_the_second_time_is_used(bench: Bench) -> None:
    """Faults 1.6: given a wrong cache / when built / then the image built without it runs."""
    other = "sha256:" + "2" * 64
    bench.client.known[other] = {"Id": other, "Config": {"Labels": {"pytest-madengine.build": "other"}}}
    bench.behave(f'[ -e "$HOME/again" ] && printf {ID} > $iid || printf {other} > $iid; touch "$HOME/again"')
    request = bench.request()
    assert bench.builder().ensure(request).id == ID
    assert "built again, without cache" in request.log_path.read_text()


def test_the_client_is_given_names_made_of_content(bench: Bench) -> None:
    """Faults 1.6: given Dockerfiles of one name, size and time / when built / then under different names,
    each with its own .dockerignore, and nothing of it stays."""
    bench.behave(
        'echo "${file##*/}" >> "$HOME/names"; cat "$file.dockerignore" >> "$HOME/ignored" 2>/dev/null; '
        f"printf {ID} > $iid"
    )
    for number in (1, 2):
        path = bench.root / f"{number}/x.Dockerfile"
        path.parent.mkdir()
        path.write_text(f"FROM base:{number}\n")
        path.with_name("x.Dockerfile.dockerignore").write_text(f"ignored{number}\n")
        os.utime(path, (0, 0))
        bench.builder().ensure(bench.request(dockerfile=DockerfileMatch(path, f"{number}/x.Dockerfile", "x")))
    names = (bench.root / "names").read_text().split()
    assert len(set(names)) == 2
    assert all(name.endswith(".x.Dockerfile") for name in names)
    assert (bench.root / "ignored").read_text() == "ignored1\nignored2\n"
    assert sorted(path.suffix for path in (bench.root / "state").iterdir()) == [".json", ".json"]


def test_a_dockerfile_that_changes_during_the_build(bench: Bench) -> None:
    """Faults 1.6: given the classic builder, which reads the Dockerfile itself / when it is changed
    meanwhile / then an error, for the image may be of either."""
    bench.environ["DOCKER_BUILDKIT"] = "0"
    bench.behave(f'echo "FROM other" > "$file"; printf {ID} > $iid')
    with pytest.raises(BuildError, match=r"^m\.Dockerfile was changed while it was built$"):
        bench.builder().ensure(bench.request())


# ---- without a registry -------------------------------------------------------------------------------


def _answer(bench: Bench, text: str) -> None:
    bench.behave(
        f'tail -n 1 "$HOME/calls" | grep -q -- " --pull " && {{ echo "{text}"; exit 1; }}; printf {ID} > $iid'
    )


def test_a_local_base_image_serves_when_no_registry_answers(bench: Bench) -> None:
    """Faults 5.2: given a base image that is here and no registry that answers / when built / then it is
    built from the local one, and every record says so."""
    _answer(bench, "Get https://registry-1.docker.io/v2/: dial tcp: lookup x: no such host")
    bench.client.known["base:1"] = {"Id": "x"}
    warnings: list[str] = []
    for number in range(2):
        request = bench.request(pull=True, log_path=bench.root / f"logs/{number}.log")
        assert bench.builder().ensure(request, warn=warnings.append).id == ID
    assert len(bench.calls) == 2
    assert len(warnings) == 2
    assert warnings[0].startswith("the local base image base:1 was used: docker build of m.Dockerfile (m): ")


@pytest.mark.parametrize(
    ("text", "local"),
    [
        ("pull access denied for base, repository does not exist", True),
        ("manifest unknown", True),
        ("dial tcp: lookup x: no such host", False),
    ],
)
def test_a_registry_that_refuses_is_obeyed(bench: Bench, text: str, local: bool) -> None:
    """Faults 5.2: given a registry that answers 'denied', or no local image / when built / then an error."""
    _answer(bench, f"failed to do request: {text}")
    if local:
        bench.client.known["base:1"] = {"Id": "x"}
    with pytest.raises(PullError):
        bench.builder().ensure(bench.request(pull=True))
    assert len(bench.calls) == 1


# ---- given images -------------------------------------------------------------------------------------


def test_a_local_image_is_not_pulled(bench: Bench) -> None:
    bench.client.known["a/b:1"] = {"Id": ID, "RepoDigests": [f"x@sha256:{'e' * 64}", f"a/b@{DIGEST}"]}
    image = bench.builder().given("a/b:1")
    assert (image.name, image.id, image.digest) == ("a/b:1", ID, DIGEST)
    assert bench.calls == []


def test_an_absent_image_is_pulled(bench: Bench) -> None:
    with pytest.raises(PullError, match="image a/b:1 is not here and cannot be pulled: manifest unknown"):
        bench.builder().given("a/b:1")
    assert bench.calls == ["pull a/b:1"]
    (bench.root / "pullable").touch()
    with pytest.raises(PullError, match="there is no local image a/b:1"):
        bench.builder().given("a/b:1", log_path=bench.root / "p.log")
    with pytest.raises(PullError, match="there is no local image"):
        bench.builder().given("a/b:1", pull=False)
    with pytest.raises(PullError, match="'--all' is not a valid image name"):
        bench.builder().given("--all")


def test_a_pull_makes_the_image_local(bench: Bench) -> None:
    def pull(name: str) -> None:
        bench.client.known[name] = {"Id": ID}

    assert given_image(bench.docker(), "a/b:1", pull).id == ID


def test_a_pull_has_a_limit(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    (bench.root / "bin/docker").write_text(DOCKER.replace("[ -e", "exec sleep 1000; [ -e"))
    with pytest.raises(PullError, match=r"Requested timeout=1$"):
        bench.builder().given("a/b:1", timeout=1)


# ---- facts --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "full"),
    [
        ("debian", "docker.io/library/debian:latest"),
        ("rocm/pytorch:6.0", "docker.io/rocm/pytorch:6.0"),
        ("localhost:5000/a:1", "localhost:5000/a:1"),
        ("localhost/a", "localhost/a:latest"),
        ("index.docker.io/library/debian:1", "docker.io/library/debian:1"),
        ("gcr.io/a/b", "gcr.io/a/b:latest"),
    ],
)
def test_full_names(name: str, full: str) -> None:
    assert full_name(name) == full
    assert repository(name) == full.rpartition(":")[0]


def test_base_digests(bench: Bench) -> None:
    """Defect 13: docker_sha is a digest or empty, never an error text."""
    client = bench.docker()
    assert base_digest(client, "", {}) == ""
    assert base_digest(client, "scratch", {}) == ""
    assert base_digest(client, "not a name", {}) == ""
    assert base_digest(client, f"a@{DIGEST}", {}) == DIGEST
    assert base_digest(client, "debian:12", {"docker.io/library/debian:12": DIGEST}) == DIGEST
    assert base_digest(client, "debian:12", {"docker.io/library/debian:11": DIGEST}) == ""
    bench.client.known["debian:12"] = {"Id": "x", "RepoDigests": ["<none>@<none>", f"mirror/d@{DIGEST}"]}
    assert base_digest(client, "debian:12", {}) == DIGEST
    bench.client.error = APIError("server error")
    assert base_digest(client, "debian:12", {}) == ""


def test_an_engine_that_breaks_off(bench: Bench) -> None:
    bench.client.error = APIError("server error", explanation="it\nbroke")
    with pytest.raises(EngineError, match="image a cannot be inspected: it broke"):
        given_image(bench.docker(), "a")
    with pytest.raises(EngineError, match="cannot be named b: it broke"):
        add_name(bench.docker(), ID, "b")


def test_names_with_registry_port_and_tag(bench: Bench) -> None:
    assert add_name(bench.docker(), ID, "localhost:5000/a:1")
    assert add_name(bench.docker(), ID, "localhost:5000/a")
    assert not add_name(bench.docker(), "gone", "a")
    assert bench.client.tags == [(ID, "localhost:5000/a", "1"), (ID, "localhost:5000/a", None)]


# ---- memory -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "state",
    [
        Built("i", ("a", "b"), "s", 1.5, "l", {"A": "1"}),
        Failed("PullError", "m", "h", ("t",), True, "l"),
    ],
)
def test_results_survive(tmp_path: Path, state: Built | Failed) -> None:
    remember(tmp_path / "x.json", state)
    assert recall(tmp_path / "x.json") == state


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"ok": true}', '{"ok": true, "id": "x", "z": 1}', "null"])
def test_unreadable_results_mean_building_again(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.json").write_text(text)
    assert recall(tmp_path / "x.json") is None


def test_errors_come_back_as_they_were() -> None:
    error = Failed("PullError", "m", "h", ("t",)).error()
    assert (type(error), error.message, error.hint, error.log_tail) == (PullError, "m", "h", ("t",))
    assert json.dumps(error.message)
